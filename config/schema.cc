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
constexpr std::string_view kTlsVersions[] = {"1.2", "1.3"};
constexpr std::string_view kClientCertificates[] = {"require", "request"};
constexpr std::string_view kJwtAlgorithms[] = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"};
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
    {"security",
     "Who can reach the daemon, what they may do, and how what is said is kept from others; docs/SECURITY.md "
     "has it."},
    {"trie", "What Ethereum has decided; a file may say it, and nothing else is accepted."},
    {"persistence", "When blocks become durable and how they are written to the tables."},
    {"cache", "Memory; the queue (persistence.queue_bytes) comes on top."},
    {"pruning", "How far back state is served."},
    {"backup", "Checkpoints that the daemon makes by itself; docs/BACKUP.md says how to use them."},
    {"performance", "Threads and batches."},
    {"limits",
     "How much memory the daemon may use and what callers may ask for; docs/LIMITS.md has all of it in one table."},
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
    {.name = "server.admin_listen",
     .kind = Kind::kString,
     .field = At<&S::server, &S::Server::admin_listen>,
     .check = CheckOptionalListenAddress,
     .help = "Where AdminService is answered, and then nowhere else, in the forms of server.listen; empty for there."},
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
    {.name = "server.max_calls_per_connection",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::server, &S::Server::max_calls_per_connection>,
     .min = 1,
     .max = 1'000'000,
     .help = "Of one connection; HTTP/2 makes a client keep back what is more until others are done."},
    {.name = "server.max_waiting_calls",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::server, &S::Server::max_waiting_calls>,
     .min = 1,
     .max = 1'000'000,
     .help = "Calls that no thread has begun yet, of those that write, that read and that make proofs one after the "
             "other each; more are refused with RESOURCE_EXHAUSTED."},
    {.name = "server.max_connections",
     .kind = Kind::kUnsigned,
     .unit = "connections",
     .field = At<&S::server, &S::Server::max_connections>,
     .min = 1,
     .max = 1'000'000,
     .help = "Of gRPC, and as many of server.admin_listen where that is set; when there are more, the newest are "
             "closed within a second."},
    {.name = "server.max_connection_idle",
     .kind = Kind::kDuration,
     .field = At<&S::server, &S::Server::max_connection_idle>,
     .min = kSecond,
     .max = 24 * kHour,
     .help = "A connection without calls is closed after so long; clients connect again by themselves."},
    {.name = "server.handshake_timeout",
     .kind = Kind::kDuration,
     .field = At<&S::server, &S::Server::handshake_timeout>,
     .min = kSecond,
     .max = kHour,
     .help = "A connection that has not said what HTTP/2 begins with after so long is closed."},
    {.name = "server.max_metadata_bytes",
     .kind = Kind::kBytes,
     .unit = "bytes",
     .field = At<&S::server, &S::Server::max_metadata_bytes>,
     .min = kKiB,
     .max = kMiB,
     .help = "A call with more metadata is refused by gRPC itself with RESOURCE_EXHAUSTED."},
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
    {.name = "security.tls_cert_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::tls_cert_file>,
     .help = "PEM file with the daemon's certificate and those between it and its CA. With it and tls_key_file, all "
             "addresses but unix sockets speak TLS only. Files of TLS are read anew when they change."},
    {.name = "security.tls_key_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::tls_key_file>,
     .help = "PEM file with the certificate's private key, without a passphrase, which others than owner and group "
             "must not be able to read."},
    {.name = "security.tls_client_ca_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::tls_client_ca_file>,
     .help = "PEM file with the CAs whose certificates callers must show (mutual TLS); empty to ask for none."},
    {.name = "security.tls_client_certificates",
     .kind = Kind::kEnum,
     .field = ChoiceAt<&S::security, &S::Security::tls_client_certificates>,
     .choices = kClientCertificates,
     .help = "With tls_client_ca_file: whether every caller must have a certificate (require), or may do without one "
             "(request). One that is shown has to be good in both."},
    {.name = "security.tls_crl_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::tls_crl_file>,
     .help =
         "PEM file with a revocation list of each CA in tls_client_ca_file and between; whose certificate is on one "
         "is refused, and everybody once a list is older than it says that it may be. Empty for none."},
    {.name = "security.tls_min_version",
     .kind = Kind::kEnum,
     .field = ChoiceAt<&S::security, &S::Security::tls_min_version>,
     .choices = kTlsVersions,
     .help = "The oldest version of TLS that is spoken."},
    {.name = "security.allow_plaintext",
     .kind = Kind::kBool,
     .field = At<&S::security, &S::Security::allow_plaintext>,
     .help = "Answer gRPC without TLS also on addresses that others than this machine can reach."},
    {.name = "security.allow_plaintext_http",
     .kind = Kind::kBool,
     .field = At<&S::security, &S::Security::allow_plaintext_http>,
     .help = "Answer metrics and health, which have no TLS, also on an address that others than this machine can "
             "reach."},
    {.name = "security.jwt_secret_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::jwt_secret_file>,
     .help =
         "The secret that callers sign tokens with as execution clients do for the engine API (HS256): 64 hexadecimal "
         "digits in a file that not everybody may read; empty for none.",
     .runtime = true},
    {.name = "security.jwt_public_key_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::jwt_public_key_file>,
     .help = "PEM file with the public key of whoever signs tokens with jwt_algorithm; empty for none.",
     .runtime = true},
    {.name = "security.jwt_algorithm",
     .kind = Kind::kEnum,
     .field = WordAt<&S::security, &S::Security::jwt_algorithm, kJwtAlgorithms>,
     .choices = kJwtAlgorithms,
     .help = "How tokens are signed that jwt_public_key_file is for; others are refused, whatever they say.",
     .runtime = true},
    {.name = "security.jwt_audience",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::jwt_audience>,
     .help = "What such tokens must have as their \"aud\".",
     .runtime = true},
    {.name = "security.roles",
     .kind = Kind::kList,
     .field = At<&S::security, &S::Security::roles>,
     .max = 1000,
     .check = CheckRoleRule,
     .help =
         "Who has which role (reader, writer, operator, admin), as \"cert:CN=prover -> reader\"; also cert:SAN=NAME, "
         "secret, secret:CLAIM=VALUE, jwt:CLAIM=VALUE, unix:uid=NUMBER and unix:gid=NUMBER. With any of them, whoever "
         "has no role is refused; without, everybody may do everything.",
     .runtime = true},
    {.name = "security.max_reads_per_second",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::security, &S::Security::max_reads_per_second>,
     .max = 1'000'000'000,
     .help = "How many calls that change no state each caller may make in a second; more are refused with "
             "RESOURCE_EXHAUSTED and a time to wait; 0 for no limit.",
     .runtime = true},
    {.name = "security.max_writes_per_second",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::security, &S::Security::max_writes_per_second>,
     .max = 1'000'000'000,
     .help = "The same for calls that change the state, and for each block of ApplyStateChangesStream.",
     .runtime = true},
    {.name = "security.audit_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::audit_file>,
     .help =
         "The file that a line is appended to for each change and each refusal, every line with the hash of the one "
         "before; empty for none."},
    {.name = "security.audit_required",
     .kind = Kind::kBool,
     .field = At<&S::security, &S::Security::audit_required>,
     .help = "Refuse changes while audit_file cannot be written to."},
    {.name = "security.encryption_key_file",
     .kind = Kind::kString,
     .field = At<&S::security, &S::Security::encryption_key_file>,
     .help =
         "The file with the master key of data that is encrypted: 32 bytes or 64 hexadecimal digits, which only its "
         "owner may read (docs/ENCRYPTION.md); another one counts from `mptctl rotate-key` on, and from nothing else. "
         "Empty, "
         "like the other two, for data that is not encrypted."},
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
    {.name = "cache.warm_up",
     .kind = Kind::kBool,
     .field = At<&S::cache, &S::Cache::warm_up>,
     .help = "After the start, read nodes of the account trie into memory in the background until node_cache_bytes are "
             "full; a few seconds for ten million accounts."},
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

    {.name = "limits.max_slots_per_transition",
     .kind = Kind::kUnsigned,
     .unit = "slots",
     .field = At<&S::limits, &S::Limits::max_slots_per_transition>,
     .min = 1,
     .max = 1'000'000'000,
     .help = "A block that changes more slots, of all accounts together, is refused.",
     .runtime = true},
    {.name = "limits.max_accounts_per_read",
     .kind = Kind::kUnsigned,
     .unit = "accounts",
     .field = At<&S::limits, &S::Limits::max_accounts_per_read>,
     .min = 1,
     .max = 10'000'000,
     .help = "GetAccounts with more addresses is refused."},
    {.name = "limits.max_slots_per_read",
     .kind = Kind::kUnsigned,
     .unit = "slots",
     .field = At<&S::limits, &S::Limits::max_slots_per_read>,
     .min = 1,
     .max = 10'000'000,
     .help = "GetStorage with more slots is refused."},
    {.name = "limits.max_proof_keys",
     .kind = Kind::kUnsigned,
     .unit = "keys",
     .field = At<&S::limits, &S::Limits::max_proof_keys>,
     .min = 1,
     .max = 1'000'000,
     .help =
         "GetProof with more slots, or GetMultiProof with more accounts and slots together, is refused; the proof of "
         "each is some kilobytes."},
    {.name = "limits.max_page_rows",
     .kind = Kind::kUnsigned,
     .unit = "rows",
     .field = At<&S::limits, &S::Limits::max_page_rows>,
     .min = 1,
     .max = 100'000,
     .help = "StreamAccounts and StreamStorage with a larger page_size are refused."},
    {.name = "limits.max_streams",
     .kind = Kind::kUnsigned,
     .unit = "streams",
     .field = At<&S::limits, &S::Limits::max_streams>,
     .min = 1,
     .max = 1'000'000,
     .help = "More streams at the same time are refused with RESOURCE_EXHAUSTED."},
    {.name = "limits.max_pinned_views",
     .kind = Kind::kUnsigned,
     .unit = "streams",
     .field = At<&S::limits, &S::Limits::max_pinned_views>,
     .min = 1,
     .max = 100'000,
     .help = "StreamAccounts and StreamStorage keep the view of their block; more of them at the same time are refused "
             "with RESOURCE_EXHAUSTED."},
    {.name = "limits.max_stream_age",
     .kind = Kind::kDuration,
     .field = At<&S::limits, &S::Limits::max_stream_age>,
     .min = kSecond,
     .max = 24 * kHour,
     .help = "StreamAccounts and StreamStorage that last longer end with ABORTED and the key to go on from."},
    {.name = "limits.max_stream_stall",
     .kind = Kind::kDuration,
     .field = At<&S::limits, &S::Limits::max_stream_stall>,
     .min = kSecond,
     .max = 24 * kHour,
     .help = "A stream whose reader takes nothing for so long lets go of what it holds and ends with "
             "RESOURCE_EXHAUSTED; after twice as long it is cut off."},
    {.name = "limits.max_watch_backlog",
     .kind = Kind::kUnsigned,
     .unit = "heads",
     .field = At<&S::limits, &S::Limits::max_watch_backlog>,
     .min = 1,
     .max = 4096,
     .help = "A stream of StreamBlocks whose reader is further behind than so many new heads ends with "
             "RESOURCE_EXHAUSTED and the block to go on from."},
    {.name = "limits.max_root_calls",
     .kind = Kind::kUnsigned,
     .unit = "calls",
     .field = At<&S::limits, &S::Limits::max_root_calls>,
     .min = 1,
     .max = 100'000,
     .help = "Calls of ComputeStateRoot that wait or run at the same time; more are refused with RESOURCE_EXHAUSTED."},
    {.name = "limits.max_root_changes",
     .kind = Kind::kUnsigned,
     .unit = "changes",
     .field = At<&S::limits, &S::Limits::max_root_changes>,
     .min = 1,
     .max = 1'000'000'000,
     .help = "Accounts and slots that all running calls of ComputeStateRoot work on together; a call with more is "
             "refused, one for which there is no room now is refused with RESOURCE_EXHAUSTED."},

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
     .help = "Calls that take longer are logged as warnings; 0 for none.",
     .runtime = true},

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
     .help = "Degraded from this share on of what the process may take: limits.max_memory_bytes, or the memory of the "
             "control group or the machine when that is less."},
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
