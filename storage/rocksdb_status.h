// How RocksDB's errors are told to the rest of the program.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "rocksdb/status.h"

namespace mptd::storage {

// `what` says what was being done, as in "reading table accounts". Corruption is DATA_LOSS, a full disk
// RESOURCE_EXHAUSTED, a folder locked by another process FAILED_PRECONDITION, any other failure to read or write
// UNAVAILABLE. RocksDB's text, which names the file where it knows it, is kept.
absl::Status FromRocksDb(const rocksdb::Status& status, std::string_view what);

}  // namespace mptd::storage
