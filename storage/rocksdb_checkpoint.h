// A copy of an open store, made of links to its table files. Any thread may make one, while nobody ingests.
//
// rocksdb::Checkpoint is not used, as in RocksDB 7.8 it may never return: it waits until no deletion of files is
// pending, and a reader that lets go of an old version and finds nothing to delete does not wake it
// (facebook/rocksdb#14069). It waits for the sake of RocksDB's own log files, which a store of ingested files does not
// have.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rocksdb {
class DB;
class Env;
}  // namespace rocksdb

namespace mptd::storage {

// Makes the folder `dir`, whose parent must exist, and syncs all that is in it. On another file system than the
// store's, files are copied instead. After an error the folder is gone again. ALREADY_EXISTS when there is something at
// `dir`.
absl::Status WriteCheckpoint(rocksdb::DB& db, rocksdb::Env& env, const std::string& dir);

}  // namespace mptd::storage
