#include "config/schema.h"

#include <array>
#include <type_traits>

#include "config/checks.h"

namespace mptd::config {
namespace {

constexpr uint64_t kKiB = uint64_t{1} << 10;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kTiB = uint64_t{1} << 40;
constexpr uint64_t kSecond = 1000;  // durations are bounded in milliseconds
constexpr uint64_t kHour = 3600 * kSecond;

constexpr std::string_view kModes[] = {"sync", "batched", "async"};
constexpr std::string_view kTrue[] = {"true"};
constexpr std::string_view kRlpVersion[] = {"1.0"};
constexpr std::string_view kKeccak[] = {"keccak256"};
constexpr std::string_view kNibbles[] = {"64"};
constexpr std::string_view kCompressions[] = {"none", "snappy", "lz4", "zstd"};

// At<&Settings::cache, &Settings::Cache::row_cache_bytes> is how the table reaches settings.cache.row_cache_bytes.
template <auto section, auto member>
constexpr auto At = +[](Settings& s) -> auto& {
  return (s.*section).*member;
};

template <auto section, auto member>
constexpr ChoiceRef ChoiceAt = {
    .get = +[](const Settings& s) { return static_cast<size_t>((s.*section).*member); },
    .set = +[](Settings& s,
               size_t i) { (s.*section).*member = static_cast<std::decay_t<decltype((s.*section).*member)>>(i); }};

// A word out of several that is kept as text.
template <auto section, auto member, const auto& words>
constexpr ChoiceRef WordAt = {.get = +[](const Settings& s) -> size_t {
                                size_t i = 0;
                                while (i + 1 < std::size(words) && words[i] != (s.*section).*member) ++i;
                                return i;
                              },
                              .set = +[](Settings& s, size_t i) { (s.*section).*member = std::string(words[i]); }};

// What Ethereum has decided: the key's one choice, which no field keeps.
constexpr ChoiceRef kFixed = {.get = +[](const Settings&) -> size_t { return 0; }, .set = +[](Settings&, size_t) {}};

using S = Settings;

struct Section {
  std::string_view name;
  std::string_view help;
};

constexpr Section kSections[] = {
    {"server", "Where the daemon keeps its data and where it answers."},
    {"security", "Who can reach the daemon, and how what is said to it is kept from others; docs/SECURITY.md has it."},
    {"trie", "What Ethereum has decided; a file may say it, and nothing else is accepted."},
    {"persistence", "When blocks become durable and how they are written to the tables."},
    {"cache", "Memory; the queue (persistence.queue_bytes) comes on top."},
    {"pruning", "How far back state is served."},
    {"backup", "Checkpoints that the daemon makes by itself; docs/BACKUP.md says how to use them."},
    {"performance", "Threads and batches."},
    {"limits", "How much memory the daemon may use and what a single block may contain."},
    {"logging", "What is logged, how and where to."},
    {"health", "When the daemon calls itself degraded or not ready."},
};

constexpr Key kKeys[] = {
    // server
    {.name = "server.data_dir",
     .alias = "data-dir",
     .kind = Kind::kString,
     .field = At<&S::server, &S::Server::data_dir>,
     .check = CheckNotEmpty,
     .help = "The folder of the state; it is made when it is not there."},
    {.name = "server.listen",
     .alias = "listen",
     .kind = Kind::kList,
     .field = At<&S::server, &S::Server::listen>,
     .min = 1,
     .max = 64,
     .check = CheckListenAddress,
     .help = "Where gRPC is answered: host:port, [IPv6 address]:port or unix:/path; port 0 takes a free one."},
    {.name = "server.http_listen",
     .alias = "http-listen",
     .kind = Kind::kString,
     .field = At<&S::server, &S::Server::http_listen>,
     .check = CheckHttpAddress,
     .help = "Where metrics and health are answered over HTTP: host:port, or \"off\"."},
    {.name = "server.genesis",
     .alias = "genesis",
     .kind = Kind::kString,
     .field = At<&S::server, &S::Server::genesis>,
     .check = CheckGenesis,
     .help = "The state that an empty data folder starts from: mainnet, sepolia, holesky, hoodi, or a file in "
             "go-ethereum's genesis format; empty for none."},
    {.name = "server.max_message_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::server, &S::Server::max_message_bytes>,
     .min = 64 * kKiB,
     .max = kGiB,
     .help = "The longest message that is read or sent; a block of changes has to fit."},
    {.name = "server.max_concurrent_calls",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::server, &S::Server::max_concurrent_calls>,
     .min = 1,
     .max = 1'000'000,
     .help = "More calls than this at the same time are refused with RESOURCE_EXHAUSTED."},
    {.name = "server.default_deadline",
     .kind = Kind::kDuration,
     .field = At<&S::server, &S::Server::default_deadline>,
     .max = 24 * kHour,
     .help = "How long a call that brings no deadline may wait for room in the queue; 0 for as long as it takes."},
    {.name = "server.drain_delay",
     .kind = Kind::kDuration,
     .field = At<&S::server, &S::Server::drain_delay>,
     .max = kHour,
     .help =
         "How long calls are still taken after SIGTERM, while health says not ready: time for load balancers to send "
         "theirs elsewhere."},
    {.name = "server.shutdown_grace",
     .kind = Kind::kDuration,
     .field = At<&S::server, &S::Server::shutdown_grace>,
     .max = kHour,
     .help = "How long running calls may take to finish after SIGTERM and drain_delay before they are cancelled."},

    // security
    {.name = "security.encryption_key_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::encryption_key_file>,
     .help =
         "The file with the master key of data that is encrypted: 32 bytes or 64 hexadecimal digits, which only its "
         "owner may read (docs/ENCRYPTION.md). Empty, like the other two, for data that is not encrypted."},
    {.name = "security.encryption_key_env",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::encryption_key_env>,
     .help = "Instead of a file, the name of the variable with the master key in 64 hexadecimal digits."},
    {.name = "security.encryption_key_command",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::encryption_key_command>,
     .help =
         "Instead of a file, what /bin/sh runs to have the master key on standard output. GetConfig shows the command "
         "itself, so that the key must not stand in it."},

    // trie
    {.name = "trie.enable_extensions",
     .kind = Kind::kEnum,
     .field = kFixed,
     .choices = kTrue,
     .help = "Paths without branches are kept in extension nodes."},
    {.name = "trie.enable_inline_nodes",
     .kind = Kind::kEnum,
     .field = kFixed,
     .choices = kTrue,
     .help = "Nodes of less than 32 bytes stand in their parent."},
    {.name = "trie.rlp_version",
     .kind = Kind::kEnum,
     .field = kFixed,
     .choices = kRlpVersion,
     .help = "How nodes are encoded: RLP as of the yellow paper."},
    {.name = "trie.hash_function",
     .kind = Kind::kEnum,
     .field = kFixed,
     .choices = kKeccak,
     .help = "What keys and nodes are hashed with."},

    // persistence
    {.name = "persistence.mode",
     .kind = Kind::kEnum,
     .field = ChoiceAt<&S::persistence, &S::Persistence::mode>,
     .choices = kModes,
     .help =
         "When a block is durable: before its reply (sync), at most batch_timeout_ms or batch_size changes after it "
         "(batched), or when the queue is flushed (async)."},
    {.name = "persistence.batch_size",
     .kind = Kind::kUnsigned,
     .unit = "changes",
     .field = At<&S::persistence, &S::Persistence::batch_size>,
     .min = 1,
     .max = 100'000'000,
     .help = "In mode batched, the change log is synced after so many changes at the latest."},
    {.name = "persistence.batch_timeout_ms",
     .kind = Kind::kDuration,
     .unit = "ms",
     .field = At<&S::persistence, &S::Persistence::batch_timeout_ms>,
     .min = 1,
     .max = 60 * kSecond,
     .help = "In mode batched, the change log is synced so long after a block at the latest."},
    {.name = "persistence.enable_compression",
     .kind = Kind::kBool,
     .field = At<&S::persistence, &S::Persistence::enable_compression>,
     .help = "Compress the tables with compression_algo; most of their bytes are hashes, which do not compress."},
    {.name = "persistence.compression_algo",
     .kind = Kind::kEnum,
     .field = ChoiceAt<&S::persistence, &S::Persistence::compression_algo>,
     .choices = kCompressions,
     .help = "How tables are compressed when enable_compression is true; of account rows zstd saved 13 % at twice the "
             "time, "
             "snappy and lz4 saved nothing, and none of them saved any of the trie's rows."},
    {.name = "persistence.flush_blocks",
     .kind = Kind::kUnsigned,
     .unit = "blocks",
     .field = At<&S::persistence, &S::Persistence::flush_blocks>,
     .min = 1,
     .max = 1'000'000,
     .help =
         "The queue is written to the tables after so many blocks at the latest; more of them merge better, and take "
         "longer to replay after a crash."},
    {.name = "persistence.flush_interval",
     .kind = Kind::kDuration,
     .field = At<&S::persistence, &S::Persistence::flush_interval>,
     .min = 100,
     .max = kHour,
     .help = "The queue is written to the tables so long after its oldest block at the latest."},
    {.name = "persistence.queue_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::persistence, &S::Persistence::queue_bytes>,
     .min = kMiB,
     .max = kTiB,
     .help = "Memory for blocks that are not written to the tables yet; when it is full, new blocks wait.",
     .runtime = true},
    {.name = "persistence.log_segment_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::persistence, &S::Persistence::log_segment_bytes>,
     .min = kMiB,
     .max = kGiB,
     .help =
         "The change log starts a new file at this size; whole files are dropped once their blocks are in the tables."},

    // cache
    {.name = "cache.enable_account_cache",
     .kind = Kind::kBool,
     .field = At<&S::cache, &S::Cache::enable_account_cache>,
     .help = "Keep accounts and slots in memory; false is row_cache_bytes and max_cached_accounts at nothing.",
     .runtime = true},
    {.name = "cache.max_cached_accounts",
     .kind = Kind::kUnsigned,
     .unit = "rows",
     .field = At<&S::cache, &S::Cache::max_cached_accounts>,
     .max = 1'000'000'000'000,
     .help =
         "At most so many accounts and slots in memory, counted as 160 bytes each; 0 for what fits row_cache_bytes.",
     .runtime = true},
    {.name = "cache.enable_node_cache",
     .kind = Kind::kBool,
     .field = At<&S::cache, &S::Cache::enable_node_cache>,
     .help =
         "Keep trie nodes in memory that the tables have; false is node_cache_bytes and max_cached_nodes at nothing.",
     .runtime = true},
    {.name = "cache.max_cached_nodes",
     .kind = Kind::kUnsigned,
     .unit = "nodes",
     .field = At<&S::cache, &S::Cache::max_cached_nodes>,
     .max = 1'000'000'000'000,
     .help = "At most so many trie nodes in memory, counted as 180 bytes each; 0 for what fits node_cache_bytes.",
     .runtime = true},
    {.name = "cache.cache_ttl_secs",
     .kind = Kind::kUnsigned,
     .unit = "s",
     .field = At<&S::cache, &S::Cache::cache_ttl_secs>,
     .max = 31'536'000,
     .help =
         "Accounts, slots and nodes that were not used for so long, or up to twice as long, leave the memory; 0 for "
         "never, because what is cached is never out of date.",
     .runtime = true},
    {.name = "cache.node_cache_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::cache, &S::Cache::node_cache_bytes>,
     .min = kMiB,
     .max = kTiB,
     .help = "Memory for trie nodes; a million accounts take about 60 MiB.",
     .runtime = true},
    {.name = "cache.row_cache_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::cache, &S::Cache::row_cache_bytes>,
     .min = kMiB,
     .max = kTiB,
     .help = "Memory for accounts and slots that were read or written lately.",
     .runtime = true},
    {.name = "cache.block_cache_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::cache, &S::Cache::block_cache_bytes>,
     .min = kMiB,
     .max = kTiB,
     .help = "Memory for RocksDB's blocks, the indexes and filters of its tables among them.",
     .runtime = true},
    {.name = "cache.history_memory_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::cache, &S::Cache::history_memory_bytes>,
     .min = kMiB,
     .max = kTiB,
     .help = "Memory for the undo records of recent blocks; 128 blocks of 1,000 updates take about 20 MiB.",
     .runtime = true},

    // pruning
    {.name = "pruning.enable_pruning",
     .kind = Kind::kBool,
     .field = At<&S::pruning, &S::Pruning::enable_pruning>,
     .help = "Drop history that is older than keep_recent_states; false keeps every block's state (archive)."},
    {.name = "pruning.keep_recent_states",
     .kind = Kind::kUnsigned,
     .unit = "blocks",
     .field = At<&S::pruning, &S::Pruning::keep_recent_states>,
     .min = 1,
     .max = 1'000'000'000,
     .help = "How many blocks behind the head are served and can be rolled back to.",
     .runtime = true},
    {.name = "pruning.prune_older_than_blocks",
     .kind = Kind::kUnsigned,
     .unit = "blocks",
     .field = At<&S::pruning, &S::Pruning::prune_older_than_blocks>,
     .max = 1'000'000'000,
     .help = "As keep_recent_states; of the two, the larger count decides which states are dropped.",
     .runtime = true},
    {.name = "pruning.pruning_interval_blocks",
     .kind = Kind::kUnsigned,
     .unit = "blocks",
     .field = At<&S::pruning, &S::Pruning::pruning_interval_blocks>,
     .min = 1,
     .max = 1'000'000,
     .help = "How many blocks pass between two prunings."},
    {.name = "pruning.max_pruning_batch",
     .kind = Kind::kUnsigned,
     .unit = "blocks",
     .field = At<&S::pruning, &S::Pruning::max_pruning_batch>,
     .min = 1,
     .max = 1'000'000'000,
     .help = "How many blocks' history one flush drops at most; the rest goes with the next ones."},

    // backup
    {.name = "backup.dir",
     .kind = Kind::kString,
     .field = At<&S::backup, &S::Backup::dir>,
     .help = "The folder that checkpoints are made in, of this daemon alone and outside of the data folder; it is made "
             "when it is not there; empty for none."},
    {.name = "backup.interval",
     .kind = Kind::kDuration,
     .field = At<&S::backup, &S::Backup::interval>,
     .min = kSecond,
     .max = 24 * 366 * kHour,
     .help = "A checkpoint is made so long after the last one, also across restarts, unless the head has not moved."},
    {.name = "backup.keep",
     .kind = Kind::kUnsigned,
     .unit = "checkpoints",
     .field = At<&S::backup, &S::Backup::keep>,
     .min = 1,
     .max = 100'000,
     .help = "How many checkpoints stay; when there are more, the oldest that the daemon made are removed."},

    // performance
    {.name = "performance.worker_threads",
     .kind = Kind::kUnsigned,
     .unit = "threads",
     .field = At<&S::performance, &S::Performance::worker_threads>,
     .max = 1024,
     .help = "Threads that hash and read for one block; 0 for one a core."},
    {.name = "performance.enable_parallel_updates",
     .kind = Kind::kBool,
     .field = At<&S::performance, &S::Performance::enable_parallel_updates>,
     .help = "Share the tries of a block among worker_threads; false is worker_threads at 1."},
    {.name = "performance.enable_parallel_proofs",
     .kind = Kind::kBool,
     .field = At<&S::performance, &S::Performance::enable_parallel_proofs>,
     .help =
         "Make proofs for several calls at the same time; false for one after the other, on a thread of their own."},
    {.name = "performance.bulk_operation_batch_size",
     .kind = Kind::kUnsigned,
     .unit = "rows",
     .field = At<&S::performance, &S::Performance::bulk_operation_batch_size>,
     .min = 1,
     .max = 10'000,
     .help = "Rows in a message of StreamAccounts and StreamStorage where the caller does not say."},

    // limits
    {.name = "limits.max_memory_bytes",
     .alias = "max-memory",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::limits, &S::Limits::max_memory_bytes>,
     .max = kTiB,
     .help =
         "What the process may take of the machine's memory, at least 128MiB; 0 for no limit. Caches and queue that "
         "nobody has set are made to fit; when it is nearly reached, caches shrink and then calls are refused with "
         "RESOURCE_EXHAUSTED and a time to wait.",
     .runtime = true},
    {.name = "limits.max_trie_depth",
     .kind = Kind::kEnum,
     .field = kFixed,
     .choices = kNibbles,
     .help = "How deep the trie can be, in nibbles. Keys are hashed, so it is decided by Ethereum: nothing else is "
             "accepted."},
    {.name = "limits.max_accounts_per_transition",
     .kind = Kind::kUnsigned,
     .unit = "accounts",
     .field = At<&S::limits, &S::Limits::max_accounts_per_transition>,
     .min = 1,
     .max = 1'000'000'000,
     .help =
         "A block that changes more accounts is refused; the default leaves room for imports, which apply blocks of "
         "100,000 accounts and more, where 10,000 are plenty for blocks of a chain.",
     .runtime = true},
    {.name = "limits.max_storage_slots_per_account",
     .kind = Kind::kUnsigned,
     .unit = "slots",
     .field = At<&S::limits, &S::Limits::max_storage_slots_per_account>,
     .min = 1,
     .max = 1'000'000'000,
     .help = "A block that changes more slots of one account is refused.",
     .runtime = true},

    // logging
    {.name = "logging.level",
     .alias = "log.level",
     .kind = Kind::kEnum,
     .field = WordAt<&S::logging, &S::Logging::level, kLogLevels>,
     .choices = kLogLevels,
     .help = "The least severe lines that are logged.",
     .runtime = true},
    {.name = "logging.module_levels",
     .kind = Kind::kList,
     .field = At<&S::logging, &S::Logging::module_levels>,
     .max = 16,
     .check = CheckModuleLevel,
     .help = "Levels of single modules (server, engine, storage, rpc, config) as module=level, which win over level.",
     .runtime = true},
    {.name = "logging.format",
     .kind = Kind::kEnum,
     .field = WordAt<&S::logging, &S::Logging::format, kLogFormats>,
     .choices = kLogFormats,
     .help = "One line an event, as text for people or as a JSON object."},
    {.name = "logging.file",
     .kind = Kind::kString,
     .field = At<&S::logging, &S::Logging::file>,
     .help = "The file that lines are appended to; empty for standard error."},
    {.name = "logging.max_file_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::logging, &S::Logging::max_file_bytes>,
     .max = kTiB,
     .help =
         "A file that would grow longer is renamed to file.1, which becomes file.2, and a new one is begun; 0 leaves "
         "that to others, such as logrotate."},
    {.name = "logging.keep_files",
     .kind = Kind::kUnsigned,
     .unit = "files",
     .field = At<&S::logging, &S::Logging::keep_files>,
     .min = 1,
     .max = 1000,
     .help = "How many renamed files are kept when max_file_bytes is not 0."},
    {.name = "logging.slow_call_ms",
     .kind = Kind::kDuration,
     .unit = "ms",
     .field = At<&S::logging, &S::Logging::slow_call_ms>,
     .max = kHour,
     .help = "Calls that take longer are logged as warnings; 0 for none."},

    // health
    {.name = "health.check_interval",
     .kind = Kind::kDuration,
     .field = At<&S::health, &S::Health::check_interval>,
     .min = 100,
     .max = kHour,
     .help = "The time between two looks at disk, memory and the log; the engine is asked every second at least."},
    {.name = "health.check_timeout",
     .kind = Kind::kDuration,
     .field = At<&S::health, &S::Health::check_timeout>,
     .min = 100,
     .max = kHour,
     .help = "A check that takes longer counts as unavailable."},
    {.name = "health.min_free_disk_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::health, &S::Health::min_free_disk_bytes>,
     .max = kTiB,
     .help =
         "With less room on the data folder's disk the daemon is not ready, with less than four times that degraded; "
         "0 for never."},
    {.name = "health.max_memory_percent",
     .kind = Kind::kUnsigned,
     .unit = "percent",
     .field = At<&S::health, &S::Health::max_memory_percent>,
     .min = 1,
     .max = 100,
     .help = "Degraded from this share on of the memory of the machine, or of the control group when that has less."},
    {.name = "health.max_sync_age",
     .kind = Kind::kDuration,
     .field = At<&S::health, &S::Health::max_sync_age>,
     .min = 1 * kSecond,
     .max = 24 * kHour,
     .help = "Degraded when blocks have been waiting for so long to become durable and none did."},
};

}  // namespace

bool IsFixed(const Key& key) { return key.choices.size() == 1; }

std::span<const Key> Keys() { return kKeys; }

const Key* FindKey(std::string_view name) {
  for (const Key& key : kKeys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string_view SectionHelp(std::string_view section) {
  for (const Section& s : kSections) {
    if (s.name == section) return s.help;
  }
  return "";
}

}  // namespace mptd::config
