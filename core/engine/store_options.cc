#include "core/engine/store_options.h"

namespace mptd {
namespace {

storage::Compression ToStorage(TableCompression compression) {
  switch (compression) {
    case TableCompression::kNone:
      return storage::Compression::kNone;
    case TableCompression::kSnappy:
      return storage::Compression::kSnappy;
    case TableCompression::kLz4:
      return storage::Compression::kLz4;
    case TableCompression::kZstd:
      return storage::Compression::kZstd;
  }
  return storage::Compression::kNone;
}

}  // namespace

storage::RocksDbOptions StoreOptions(const EngineOptions& options, const std::string& dir) {
  storage::RocksDbOptions out;
  out.dir = dir;
  out.block_cache_bytes = options.block_cache_bytes;
  out.compression = ToStorage(options.compression);
  out.env = options.table_files;
  return out;
}

}  // namespace mptd
