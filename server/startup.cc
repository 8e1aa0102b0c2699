#include "server/startup.h"

#include <sys/prctl.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"

namespace mptd {
namespace {

// Measured of a state of a million accounts, with what the allocator and the index add.
constexpr uint64_t kBytesANode = 180;
constexpr uint64_t kBytesARow = 160;

// Of limits.max_memory_bytes, what gRPC may hold of messages that are still arriving. The memory guard, which refuses
// from 80 % on, does not know of these, so both together have to be less than all. Longer messages than this would be
// refused by the guard, too, which counts what they become.
constexpr uint64_t kBufferedShare = 6;

Durability ToDurability(config::PersistenceMode mode) {
  switch (mode) {
    case config::PersistenceMode::kSync:
      return Durability::kSync;
    case config::PersistenceMode::kBatched:
      return Durability::kBatched;
    case config::PersistenceMode::kAsync:
      return Durability::kAsync;
  }
  return Durability::kSync;
}

TableCompression ToEngine(config::Compression algorithm) {
  switch (algorithm) {
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

Hash RootOfSorted(std::vector<std::pair<Hash, Bytes>> leaves) {
  if (leaves.empty()) return kEmptyRoot;
  std::sort(leaves.begin(), leaves.end());
  TrieBuilder builder([](const NibblePath&, const BranchValue&) {});
  for (const auto& [key, value] : leaves) builder.Add(key, value, /*has_storage=*/false);
  return builder.Finish();
}

Hash StorageRoot(const std::vector<SlotChange>& slots) {
  std::vector<std::pair<Hash, Bytes>> leaves;
  for (const SlotChange& slot : slots) {
    Bytes value;
    rlp::AppendString(value, slot.value.minimal());
    leaves.emplace_back(Keccak256(slot.key.view()), std::move(value));
  }
  return RootOfSorted(std::move(leaves));
}

// A number of things, each of so many bytes, where 0 is no limit of its own; and nothing at all when not enabled.
uint64_t CacheBytes(bool enabled, uint64_t bytes, uint64_t most, uint64_t bytes_each) {
  if (!enabled) return 0;
  return most == 0 ? bytes : std::min(bytes, most * bytes_each);
}

EngineLimits ToEngineLimits(const config::Settings& settings) {
  const config::Settings::Cache& cache = settings.cache;
  EngineLimits out;
  out.keep_blocks = std::max(settings.pruning.keep_recent_states, settings.pruning.prune_older_than_blocks);
  out.max_changes_per_block = settings.limits.max_accounts_per_transition;
  out.max_slots_per_account = settings.limits.max_storage_slots_per_account;
  out.max_slots_per_block = settings.limits.max_slots_per_transition;
  out.node_cache_bytes =
      CacheBytes(cache.enable_node_cache, cache.node_cache_bytes, cache.max_cached_nodes, kBytesANode);
  out.row_cache_bytes =
      CacheBytes(cache.enable_account_cache, cache.row_cache_bytes, cache.max_cached_accounts, kBytesARow);
  out.block_cache_bytes = cache.block_cache_bytes;
  out.history_memory_bytes = cache.history_memory_bytes;
  out.queue_bytes = settings.persistence.queue_bytes;
  out.cache_ttl = absl::Seconds(static_cast<int64_t>(cache.cache_ttl_secs));
  return out;
}

}  // namespace

LogOptions ToLogOptions(const config::Settings& settings) {
  LogOptions out;
  out.level = settings.logging.level;
  out.module_levels = settings.logging.module_levels;
  out.format = settings.logging.format;
  out.file = settings.logging.file;
  out.max_file_bytes = settings.logging.max_file_bytes;
  out.keep_files = settings.logging.keep_files;
  return out;
}

storage::KeySource ToKeySource(const config::Settings& settings) {
  const config::Settings::Security& security = settings.security;
  return {.file = security.encryption_key_file,
          .environment = security.encryption_key_env,
          .command = security.encryption_key_command};
}

void ForbidCoreFiles(const config::Settings& settings) {
  if (!ToKeySource(settings).empty()) (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

EngineOptions ToDataOptions(const config::Settings& settings) {
  EngineOptions out;
  static_cast<EngineLimits&>(out) = ToEngineLimits(settings);
  out.data_dir = settings.server.data_dir;
  out.encryption_key = ToKeySource(settings);
  if (settings.persistence.enable_compression) out.compression = ToEngine(settings.persistence.compression_algo);
  return out;
}

EngineOptions ToEngineOptions(const config::Settings& settings) {
  EngineOptions out = ToDataOptions(settings);
  out.durability = ToDurability(settings.persistence.mode);
  out.batch_timeout = settings.persistence.batch_timeout_ms;
  out.batch_size = settings.persistence.batch_size;
  out.archive = !settings.pruning.enable_pruning;
  out.max_prune_blocks = settings.pruning.max_pruning_batch;
  out.prune_interval_blocks = settings.pruning.pruning_interval_blocks;
  out.flush_blocks = settings.persistence.flush_blocks;
  out.flush_interval = settings.persistence.flush_interval;
  out.log_segment_bytes = settings.persistence.log_segment_bytes;
  out.warm_up = settings.cache.warm_up && settings.cache.enable_node_cache;
  const config::Settings::Performance& performance = settings.performance;
  out.worker_threads = performance.enable_parallel_updates ? static_cast<int>(performance.worker_threads) : 1;
  return out;
}

EngineOptions ToEngineOptions(const config::Settings& settings, EngineWatch& watch) {
  EngineOptions out = ToEngineOptions(settings);
  out.on_event = [&watch](const EngineEvent& event) { watch.OnEvent(event); };
  return out;
}

ServerTlsOptions ToTlsOptions(const config::Settings& settings) {
  const config::Settings::Security& security = settings.security;
  return {.files = {.certificate = security.tls_cert_file,
                    .key = security.tls_key_file,
                    .client_ca = security.tls_client_ca_file,
                    .revocation_lists = security.tls_crl_file},
          .require_client_certificates = security.tls_client_certificates == config::ClientCertificates::kRequire,
          .tls13_only = security.tls_min_version == config::TlsVersion::k13};
}

HealthOptions ToHealthOptions(const config::Settings& settings) {
  return {.data_dir = settings.server.data_dir,
          .queue_limit_bytes = settings.persistence.queue_bytes,
          .interval = settings.health.check_interval,
          .timeout = settings.health.check_timeout,
          .min_free_disk_bytes = settings.health.min_free_disk_bytes,
          .max_memory_percent = settings.health.max_memory_percent,
          .max_sync_age = settings.health.max_sync_age,
          .key_in_file = !settings.security.encryption_key_file.empty()};
}

RuntimeSettings ToRuntimeSettings(const config::Loaded& loaded) {
  RuntimeSettings out;
  for (const config::Entry& entry : loaded.entries) {
    pb::ConfigEntry& to = out.config.emplace_back();
    to.set_key(entry.key);
    to.set_value(entry.value);
    to.set_source(std::string(config::Name(entry.source)));
    to.set_where(entry.where);
    to.set_runtime(entry.runtime);
  }
  out.engine = ToEngineLimits(loaded.settings);
  out.max_memory_bytes = loaded.settings.limits.max_memory_bytes;
  out.log_level = loaded.settings.logging.level;
  out.module_levels = loaded.settings.logging.module_levels;
  out.slow_call = loaded.settings.logging.slow_call_ms;
  const config::Settings::Security& security = loaded.settings.security;
  out.access = {.jwt_secret_file = security.jwt_secret_file,
                .jwt_public_key_file = security.jwt_public_key_file,
                .jwt_algorithm = security.jwt_algorithm,
                .jwt_audience = security.jwt_audience,
                .roles = security.roles,
                .rates = {.reads_per_second = security.max_reads_per_second,
                          .writes_per_second = security.max_writes_per_second}};
  return out;
}

CallerLimits ToCallerLimits(const config::Settings::Limits& limits) {
  return {.accounts_per_read = limits.max_accounts_per_read,
          .slots_per_read = limits.max_slots_per_read,
          .proof_keys = limits.max_proof_keys,
          .page_rows = limits.max_page_rows,
          .streams = limits.max_streams,
          .pinned_views = limits.max_pinned_views,
          .stream_age = limits.max_stream_age,
          .stream_stall = limits.max_stream_stall,
          .watch_backlog = limits.max_watch_backlog,
          .root_calls = limits.max_root_calls,
          .root_changes = limits.max_root_changes};
}

DaemonOptions ToDaemonOptions(const config::Loaded& loaded, std::string_view version) {
  const config::Settings::Server& server = loaded.settings.server;
  DaemonOptions out;
  out.version = std::string(version);
  out.data_dir = loaded.settings.server.data_dir;
  out.persistence_mode = std::string(config::Name(loaded.settings.persistence.mode));
  out.runtime = ToRuntimeSettings(loaded);
  out.grpc = {.listen = server.listen, .credentials = nullptr, .max_message_bytes = server.max_message_bytes};
  out.tls = ToTlsOptions(loaded.settings);
  out.admin_listen = server.admin_listen;
  if (server.http_listen != "off") out.http_listen = server.http_listen;
  out.limits.max_message_bytes = server.max_message_bytes;
  out.limits.max_concurrent_calls = server.max_concurrent_calls;
  out.grpc.max_calls_per_connection = server.max_calls_per_connection;
  out.grpc.max_connections = server.max_connections;
  out.grpc.max_connection_idle = server.max_connection_idle;
  out.grpc.handshake_timeout = server.handshake_timeout;
  out.grpc.max_metadata_bytes = server.max_metadata_bytes;
  out.grpc.max_buffered_bytes = loaded.settings.limits.max_memory_bytes / kBufferedShare;
  out.limits.max_waiting_calls = server.max_waiting_calls;
  out.limits.caller = ToCallerLimits(loaded.settings.limits);
  out.limits.default_deadline = server.default_deadline;
  out.limits.slow_call = loaded.settings.logging.slow_call_ms;
  out.limits.parallel_proofs = loaded.settings.performance.enable_parallel_proofs;
  out.limits.page_size = loaded.settings.performance.bulk_operation_batch_size;
  out.limits.read_threads = std::max(4u, std::thread::hardware_concurrency());
  out.health = ToHealthOptions(loaded.settings);
  out.drain_delay = server.drain_delay;
  out.shutdown_grace = server.shutdown_grace;
  const config::Settings::Backup& backup = loaded.settings.backup;
  out.audit.file = loaded.settings.security.audit_file;
  out.audit.required = loaded.settings.security.audit_required;
  out.backup = {.dir = backup.dir, .interval = backup.interval, .keep = backup.keep};
  return out;
}

Hash GenesisRoot(const Genesis& genesis) {
  std::vector<std::pair<Hash, Bytes>> leaves;
  leaves.reserve(genesis.changes.size());
  for (const AccountChange& change : genesis.changes) {
    const Account account{.nonce = change.nonce.value_or(0),
                          .balance = change.balance.value_or(U256{}),
                          .storage_root = StorageRoot(change.slots),
                          .code_hash = Keccak256(change.code.value_or(Bytes()))};
    Bytes value;
    AppendAccountRlp(value, account);
    leaves.emplace_back(Keccak256(change.address.view()), std::move(value));
  }
  return RootOfSorted(std::move(leaves));
}

Hash NamedRoot(const Genesis& genesis) { return genesis.state_root ? *genesis.state_root : GenesisRoot(genesis); }

absl::Status StartFromGenesis(StateEngine& engine, Genesis genesis, Logger& log) {
  const EngineStatus status = engine.Status();
  const std::string name = genesis.name;
  if (!status.has_blocks) {
    const size_t accounts = genesis.changes.size();
    const absl::StatusOr<ApplyResult> applied = engine.Apply(GenesisBlock(std::move(genesis)));
    if (!applied.ok()) return applied.status();
    if (absl::Status flushed = engine.Flush().status(); !flushed.ok()) return flushed;
    log.Info(LogModule::kServer, "genesis_applied",
             {{"name", name}, {"accounts", accounts}, {"state_root", ToHex(applied->block.state_root)}});
    return absl::OkStatus();
  }
  // Only a first block of number 0 is remembered as the genesis.
  if (genesis.number != 0) return absl::OkStatus();
  const Hash wanted = NamedRoot(genesis);
  if (status.genesis_root == wanted) return absl::OkStatus();
  if (!status.genesis_root.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the data folder does not start from a genesis, but from a later block; that of %s, with root "
                        "%s, cannot be applied",
                        name, ToHex(wanted)));
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("the data folder starts from another genesis: its root is %s, that of %s is %s",
                      ToHex(*status.genesis_root), name, ToHex(wanted)));
}

}  // namespace mptd
