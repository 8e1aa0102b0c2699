// A log for RocksDB that keeps nothing, where it would otherwise write one of its own into the folder.
#pragma once

#include <cstdarg>

#include "rocksdb/env.h"

namespace mptd::storage {

class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

}  // namespace mptd::storage
