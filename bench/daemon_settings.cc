#include "bench/daemon_settings.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/config.h"

namespace mptd::bench {
namespace {

std::string ModeName(Durability durability) {
  switch (durability) {
    case Durability::kSync:
      return "sync";
    case Durability::kBatched:
      return "batched";
    case Durability::kAsync:
      return "async";
  }
  return "";
}

Durability ToDurability(config::PersistenceMode mode) {
  switch (mode) {
    case config::PersistenceMode::kSync:
      return Durability::kSync;
    case config::PersistenceMode::kBatched:
      return Durability::kBatched;
    case config::PersistenceMode::kAsync:
      return Durability::kAsync;
  }
  return Durability::kBatched;
}

TableCompression ToCompression(const config::Settings::Persistence& persistence) {
  if (!persistence.enable_compression) return TableCompression::kNone;
  switch (persistence.compression_algo) {
    case config::Compression::kNone:
      return TableCompression::kNone;
    case config::Compression::kSnappy:
      return TableCompression::kSnappy;
    case config::Compression::kLz4:
      return TableCompression::kLz4;
    case config::Compression::kZstd:
      return TableCompression::kZstd;
  }
  return TableCompression::kNone;
}

}  // namespace

std::vector<std::string> DaemonFlags(const BenchOptions& options) {
  const EngineOptions& engine = options.engine;
  const std::pair<std::string_view, std::string> settings[] = {
      {"persistence.mode", ModeName(engine.durability)},
      {"persistence.flush_blocks", absl::StrCat(engine.flush_blocks)},
      {"persistence.flush_interval", absl::StrCat(absl::ToInt64Milliseconds(engine.flush_interval), "ms")},
      {"persistence.queue_bytes", absl::StrCat(engine.queue_bytes)},
      {"cache.warm_up", engine.warm_up ? "true" : "false"},
      {"cache.node_cache_bytes", absl::StrCat(engine.node_cache_bytes)},
      {"cache.row_cache_bytes", absl::StrCat(engine.row_cache_bytes)},
      {"cache.block_cache_bytes", absl::StrCat(engine.block_cache_bytes)},
      {"cache.history_memory_bytes", absl::StrCat(engine.history_memory_bytes)},
      {"pruning.keep_recent_states", absl::StrCat(engine.keep_blocks)},
      {"performance.worker_threads", absl::StrCat(engine.worker_threads)},
  };
  std::vector<std::string> flags = {"--logging.level=warn", "--data-dir=" + engine.data_dir};
  if (!options.preset.empty()) flags.push_back("--preset=" + options.preset);
  if (const std::string& key = engine.encryption_key.file; !key.empty()) {
    flags.push_back("--security.encryption_key_file=" + key);
  }
  for (const auto& [key, value] : settings) {
    if (options.preset.empty() || options.given.contains(key)) flags.push_back(absl::StrFormat("--%s=%s", key, value));
  }
  return flags;
}

absl::Status TakePreset(BenchOptions& options) {
  if (options.preset.empty()) return absl::OkStatus();
  const std::vector<std::string> flags = DaemonFlags(options);
  std::vector<const char*> words = {"mptd"};
  for (const std::string& flag : flags) words.push_back(flag.c_str());
  constexpr const char* kNoVariables[] = {nullptr};
  const absl::StatusOr<config::Loaded> loaded =
      config::Load(static_cast<int>(words.size()), words.data(), kNoVariables, "");
  if (!loaded.ok()) return loaded.status();
  const config::Settings& settings = loaded->settings;
  EngineOptions& engine = options.engine;
  engine.durability = ToDurability(settings.persistence.mode);
  engine.compression = ToCompression(settings.persistence);
  engine.flush_blocks = settings.persistence.flush_blocks;
  engine.flush_interval = settings.persistence.flush_interval;
  engine.queue_bytes = settings.persistence.queue_bytes;
  engine.node_cache_bytes = settings.cache.node_cache_bytes;
  engine.row_cache_bytes = settings.cache.row_cache_bytes;
  engine.block_cache_bytes = settings.cache.block_cache_bytes;
  engine.history_memory_bytes = settings.cache.history_memory_bytes;
  engine.keep_blocks = settings.pruning.keep_recent_states;
  engine.worker_threads = static_cast<int>(settings.performance.worker_threads);
  return absl::OkStatus();
}

}  // namespace mptd::bench
