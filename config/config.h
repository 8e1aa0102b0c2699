// The daemon's settings and where they come from. Start reading here; the table of all keys is in config/schema.cc.
//
// Load() is a function of its arguments and of the files that they name; Settings and Loaded are plain values. Anything
// here may be used from any thread as long as nobody writes to the same object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::config {

enum class PersistenceMode : uint8_t { kSync, kBatched, kAsync };
enum class TlsVersion : uint8_t { k12, k13 };
enum class ClientCertificates : uint8_t { kRequire, kRequest };
enum class Compression : uint8_t { kNone, kSnappy, kLz4, kZstd };

// The words that users write for these.
std::string_view Name(PersistenceMode mode);
std::string_view Name(Compression algorithm);

// Every key of the table, but for those that Ethereum has decided, has exactly one field here, of the same name; the
// initial values are the defaults. What a value means and which values are allowed is said once, in the table
// (docs/CONFIGURATION.md is made from it).
struct Settings {
  struct Server {
    std::string data_dir = "./mptd-data";
    std::vector<std::string> listen = {"127.0.0.1:7300"};  // never empty; host:port, [v6]:port or unix:/path
    std::string admin_listen;                              // empty: AdminService is answered at listen
    std::string http_listen = "127.0.0.1:7301";            // host:port or "off"
    std::string genesis;                                   // empty, the name of a network, or a readable file
    uint64_t max_message_bytes = uint64_t{256} << 20;      // fits an int
    uint64_t max_concurrent_calls = 1024;
    uint64_t max_calls_per_connection = 1024;
    uint64_t max_waiting_calls = 512;
    uint64_t max_connections = 1024;
    absl::Duration max_connection_idle = absl::Hours(1);
    absl::Duration handshake_timeout = absl::Seconds(20);
    uint64_t max_metadata_bytes = uint64_t{8} << 10;
    absl::Duration default_deadline = absl::Seconds(30);  // zero: no limit
    absl::Duration drain_delay = absl::ZeroDuration();
    absl::Duration shutdown_grace = absl::Seconds(30);
  };
  struct Security {
    std::string tls_cert_file;  // empty: no TLS; set exactly when tls_key_file is
    std::string tls_key_file;
    std::string tls_client_ca_file;  // never without tls_cert_file
    ClientCertificates tls_client_certificates = ClientCertificates::kRequire;
    std::string tls_crl_file;  // never without tls_client_ca_file
    TlsVersion tls_min_version = TlsVersion::k13;
    bool allow_plaintext = false;
    bool allow_plaintext_http = false;
    std::string jwt_secret_file;
    std::string jwt_public_key_file;
    std::string jwt_algorithm = "RS256";
    std::string jwt_audience;
    std::vector<std::string> roles;     // "cert:CN=prover -> reader"; security/roles.h reads them
    uint64_t max_reads_per_second = 0;  // 0: no limit
    uint64_t max_writes_per_second = 0;
    std::string audit_file;  // empty: none
    bool audit_required = true;
    // Where the master key is: at most one of them is not empty.
    std::string encryption_key_file;
    std::string encryption_key_env;
    std::string encryption_key_command;
  };
  struct Persistence {
    PersistenceMode mode = PersistenceMode::kBatched;
    uint64_t batch_size = 1000;
    absl::Duration batch_timeout_ms = absl::Milliseconds(100);
    bool enable_compression = false;
    Compression compression_algo = Compression::kZstd;  // never kNone when enable_compression is set
    uint64_t flush_blocks = 256;
    absl::Duration flush_interval = absl::Seconds(5);
    uint64_t queue_bytes = uint64_t{96} << 20;
    uint64_t log_segment_bytes = uint64_t{4} << 20;
  };
  struct Cache {
    bool enable_account_cache = true;
    uint64_t max_cached_accounts = 0;  // 0: as row_cache_bytes says
    bool enable_node_cache = true;
    uint64_t max_cached_nodes = 0;  // 0: as node_cache_bytes says
    uint64_t cache_ttl_secs = 0;    // 0: for ever
    bool warm_up = true;
    uint64_t node_cache_bytes = uint64_t{640} << 20;
    uint64_t row_cache_bytes = uint64_t{128} << 20;
    uint64_t block_cache_bytes = uint64_t{64} << 20;
    uint64_t history_memory_bytes = uint64_t{96} << 20;
  };
  struct Pruning {
    bool enable_pruning = true;  // false: archive
    uint64_t keep_recent_states = 128;
    uint64_t prune_older_than_blocks = 0;
    uint64_t pruning_interval_blocks = 64;
    uint64_t max_pruning_batch = 10'000;
  };
  struct Backup {
    std::string dir;  // empty: no checkpoints are made
    absl::Duration interval = absl::Hours(24);
    uint64_t keep = 7;
  };
  struct Performance {
    uint64_t worker_threads = 0;  // 0: one a core; fits an int
    bool enable_parallel_updates = true;
    bool enable_parallel_proofs = true;
    uint64_t bulk_operation_batch_size = 1000;
  };
  struct Limits {
    uint64_t max_memory_bytes = 0;  // 0: no limit
    uint64_t max_accounts_per_transition = 1'000'000;
    uint64_t max_storage_slots_per_account = 1'000'000;
    uint64_t max_slots_per_transition = 4'000'000;
    uint64_t max_accounts_per_read = 100'000;
    uint64_t max_slots_per_read = 100'000;
    uint64_t max_proof_keys = 10'000;
    uint64_t max_page_rows = 10'000;
    uint64_t max_streams = 1024;
    uint64_t max_pinned_views = 256;
    absl::Duration max_stream_age = absl::Minutes(10);
    absl::Duration max_stream_stall = absl::Minutes(1);
    uint64_t max_watch_backlog = 4096;
    uint64_t max_root_calls = 256;
    uint64_t max_root_changes = 4'000'000;
  };
  struct Logging {  // as metrics/log.h's LogOptions takes them
    std::string level = "info";
    std::vector<std::string> module_levels;  // "rpc=debug"
    std::string format = "text";
    std::string file;                               // empty: standard error
    uint64_t max_file_bytes = uint64_t{128} << 20;  // zero: it grows
    uint64_t keep_files = 5;
    absl::Duration slow_call_ms = absl::Milliseconds(1000);  // zero: slow calls are not logged
  };

  struct Health {
    absl::Duration check_interval = absl::Seconds(10);
    absl::Duration check_timeout = absl::Seconds(5);
    uint64_t min_free_disk_bytes = uint64_t{512} << 20;
    uint64_t max_memory_percent = 85;
    absl::Duration max_sync_age = absl::Seconds(30);
  };

  Server server;
  Security security;
  Persistence persistence;
  Cache cache;
  Pruning pruning;
  Backup backup;
  Performance performance;
  Limits limits;
  Logging logging;
  Health health;
};

enum class Source : uint8_t { kDefault, kDerived, kPreset, kFile, kEnvironment, kFlag };
std::string_view Name(Source source);  // "default", "derived", "preset", "file", "environment", "flag"

// One setting as an operator sees it.
struct Entry {
  std::string key;    // "persistence.mode"
  std::string value;  // as it would be written on the command line; the elements of a list separated by commas
  Source source = Source::kDefault;
  // "mptd.yaml:4:9", "MPTD_PERSISTENCE_MODE", "--persistence.mode", the preset, the setting that it is derived from;
  // empty for a default
  std::string where;
  bool runtime = false;  // can be changed while the daemon runs
};
// "preset low_memory", "file mptd.yaml:4:9", "default".
std::string Origin(const Entry& entry);

struct Loaded {
  Settings settings;
  std::string preset;          // empty without one
  std::vector<Entry> entries;  // every key, in the order of the table
  // Set by --help, --version, --check-config, --print-config and the like: main() writes it to standard output as it
  // is, and exits with 0 without starting anything.
  std::optional<std::string> print;
};

// Reads the flags in `argv` (argv[0] is skipped), the variables in `environment` (null-terminated, as in ::environ) and
// the YAML file that --config or MPTD_CONFIG names. A flag wins over a variable, that over the file, that over the
// preset that they name, that over the default; each value is checked even when another one wins. `version` is what
// --version answers. INVALID_ARGUMENT: what is wrong, one problem a line, each with where it stands (file:line:column,
// flag or variable); also when the file is missing. main() writes the message to standard error and exits with 1.
absl::StatusOr<Loaded> Load(int argc, const char* const* argv, const char* const* environment,
                            std::string_view version);

}  // namespace mptd::config
