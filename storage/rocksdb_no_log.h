// For opening a store that is only to be read. Internal to storage.
#pragma once

#include <cstdarg>

#include "rocksdb/env.h"

namespace mptd::storage {

// RocksDB would otherwise start a new log file in the folder.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace mptd::storage
