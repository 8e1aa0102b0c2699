#include "config/presets.h"

namespace mptd::config {
namespace {

constexpr PresetSetting kLowLatency[] = {
    {"persistence.mode", "async"},      {"persistence.flush_blocks", "1024"}, {"persistence.queue_bytes", "512MiB"},
    {"cache.node_cache_bytes", "2GiB"}, {"cache.row_cache_bytes", "512MiB"},  {"cache.block_cache_bytes", "512MiB"},
};

constexpr PresetSetting kHighThroughput[] = {
    {"persistence.mode", "batched"},
    {"persistence.batch_size", "100000"},
    {"persistence.batch_timeout_ms", "1000"},
    {"persistence.flush_blocks", "1024"},
    {"persistence.flush_interval", "30s"},
    {"persistence.queue_bytes", "1GiB"},
    {"persistence.log_segment_bytes", "64MiB"},
    {"cache.node_cache_bytes", "1GiB"},
    {"cache.row_cache_bytes", "512MiB"},
    {"performance.bulk_operation_batch_size", "5000"},
};

constexpr PresetSetting kLowMemory[] = {
    {"limits.max_memory_bytes", "512MiB"},     {"pruning.keep_recent_states", "32"},
    {"pruning.pruning_interval_blocks", "16"}, {"server.max_message_bytes", "32MiB"},
    {"server.max_concurrent_calls", "64"},
};

constexpr PresetSetting kArchival[] = {
    {"pruning.enable_pruning", "false"},
    {"persistence.mode", "sync"},
    {"persistence.enable_compression", "true"},
    {"persistence.compression_algo", "zstd"},
};

constexpr Preset kPresets[] = {
    {"low_latency",
     "For validators and whoever waits for every block: replies do not wait for the disk, caches are large, and the "
     "tables, whose writing takes processors from blocks, are written less often. Takes up to 4 GiB of memory; a crash "
     "of the machine loses the blocks since the last flush, of some seconds. A state that fits into the default caches "
     "gains little or nothing.",
     kLowLatency},
    {"high_throughput",
     "For catching up and imports: large batches, so that a row that many blocks change is written once, and "
     "caches for a large state. Takes up to 4 GiB of memory; a crash of the machine loses up to a second of blocks, "
     "and replay takes longer. A state that fits into the default caches is not applied faster, but with fewer writes.",
     kHighThroughput},
    {"low_memory",
     "For small machines: limits.max_memory_bytes is 512MiB, from which caches and queue follow, and a shorter history "
     "is served. Reads and blocks go to the disk more often.",
     kLowMemory},
    {"archival",
     "For nodes that serve every state since their first block: nothing is pruned, every block is durable before its "
     "reply, and tables are compressed. Takes disk without end, and the time of a sync for every block.",
     kArchival},
};

}  // namespace

std::span<const Preset> Presets() { return kPresets; }

const Preset* FindPreset(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace mptd::config
