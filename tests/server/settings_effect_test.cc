// Every key does something: some value of it changes what the daemon is started with. A key that nothing reads fails.
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/exposure.h"
#include "config/schema.h"
#include "config/values.h"
#include "server/startup.h"

namespace mptd {
namespace {

// All that startup makes of the settings, but for what GetConfig answers.
std::string StartedWith(const config::Settings& settings) {
  const auto log = Logger::Silent();
  EngineWatch watch(*log);
  const EngineOptions e = ToEngineOptions(settings, watch);
  config::Loaded loaded;
  loaded.settings = settings;
  const DaemonOptions d = ToDaemonOptions(loaded, "1");
  const LogOptions l = ToLogOptions(settings);
  std::string out = absl::StrJoin({static_cast<uint64_t>(e.durability),
                                   e.batch_size,
                                   static_cast<uint64_t>(e.compression),
                                   e.keep_blocks,
                                   static_cast<uint64_t>(e.archive),
                                   e.prune_interval_blocks,
                                   e.max_prune_blocks,
                                   e.max_changes_per_block,
                                   e.max_slots_per_account,
                                   e.max_slots_per_block,
                                   e.node_cache_bytes,
                                   e.row_cache_bytes,
                                   e.block_cache_bytes,
                                   e.history_memory_bytes,
                                   e.queue_bytes,
                                   e.flush_blocks,
                                   e.log_segment_bytes,
                                   static_cast<uint64_t>(e.worker_threads),
                                   static_cast<uint64_t>(e.warm_up),
                                   d.runtime.max_memory_bytes,
                                   static_cast<uint64_t>(d.limits.max_message_bytes),
                                   static_cast<uint64_t>(d.limits.max_concurrent_calls),
                                   static_cast<uint64_t>(d.limits.max_waiting_calls),
                                   static_cast<uint64_t>(d.limits.caller.accounts_per_read),
                                   static_cast<uint64_t>(d.limits.caller.slots_per_read),
                                   static_cast<uint64_t>(d.limits.caller.proof_keys),
                                   static_cast<uint64_t>(d.limits.caller.page_rows),
                                   static_cast<uint64_t>(d.limits.caller.streams),
                                   static_cast<uint64_t>(d.limits.caller.pinned_views),
                                   static_cast<uint64_t>(d.limits.caller.watch_backlog),
                                   static_cast<uint64_t>(d.limits.caller.root_calls),
                                   static_cast<uint64_t>(d.limits.caller.root_changes),
                                   static_cast<uint64_t>(d.grpc.max_calls_per_connection),
                                   static_cast<uint64_t>(d.grpc.max_connections),
                                   static_cast<uint64_t>(d.grpc.max_metadata_bytes),
                                   static_cast<uint64_t>(d.limits.parallel_proofs),
                                   static_cast<uint64_t>(d.limits.page_size),
                                   d.backup.keep,
                                   static_cast<uint64_t>(d.tls.require_client_certificates),
                                   static_cast<uint64_t>(d.tls.tls13_only),
                                   d.runtime.access.rates.reads_per_second,
                                   d.runtime.access.rates.writes_per_second,
                                   static_cast<uint64_t>(d.audit.required),
                                   d.health.min_free_disk_bytes,
                                   static_cast<uint64_t>(d.health.max_memory_percent),
                                   l.max_file_bytes,
                                   l.keep_files},
                                  " ");
  for (const absl::Duration duration :
       {e.batch_timeout, e.flush_interval, e.cache_ttl, d.limits.default_deadline, d.limits.slow_call, d.drain_delay,
        d.shutdown_grace, d.limits.caller.stream_age, d.limits.caller.stream_stall, d.grpc.max_connection_idle,
        d.grpc.handshake_timeout, d.backup.interval, d.health.interval, d.health.timeout, d.health.max_sync_age}) {
    out += " " + absl::FormatDuration(duration);
  }
  for (const std::string& text : {e.data_dir,
                                  absl::StrJoin(d.grpc.listen, ","),
                                  d.http_listen,
                                  l.level,
                                  absl::StrJoin(l.module_levels, ","),
                                  l.format,
                                  l.file,
                                  settings.server.genesis,
                                  d.backup.dir,
                                  d.admin_listen,
                                  d.tls.files.certificate,
                                  d.tls.files.key,
                                  d.tls.files.client_ca,
                                  d.tls.files.revocation_lists,
                                  d.audit.file,
                                  d.runtime.access.jwt_secret_file,
                                  d.runtime.access.jwt_public_key_file,
                                  d.runtime.access.jwt_algorithm,
                                  d.runtime.access.jwt_audience,
                                  absl::StrJoin(d.runtime.access.roles, ","),
                                  e.encryption_key.file,
                                  e.encryption_key.environment,
                                  e.encryption_key.command}) {
    out += " " + text;
  }
  // What keeps it from starting at all.
  config::Settings open = settings;
  open.server.listen = {"0.0.0.0:1"};
  open.server.http_listen = "0.0.0.0:2";
  for (const auto& [name, what] : config::CheckExposure(open)) out += " " + std::string(name) + ": " + what;
  return out;
}

std::vector<std::string> SomeValues(const config::Key& key) {
  std::vector<std::string> values = {"true", "false", "other", "127.0.0.1:1", "hoodi", "1",
                                     "2",    "1s",    "1ms",   "1MiB",        "2MiB",  "1000000"};
  for (const std::string_view choice : key.choices) values.emplace_back(choice);
  return values;
}

bool Set(const config::Key& key, const std::string& value, config::Settings& settings) {
  if (key.kind != config::Kind::kList) return config::SetScalar(key, value, settings).empty();
  std::string element = value;
  if (key.name == "logging.module_levels") element = "rpc=debug";
  if (key.name == "security.roles") element = "secret -> writer";
  return key.check(element).empty() && config::SetList(key, {element}, settings).empty();
}

bool DoesSomething(const config::Key& key) {
  config::Settings base;
  base.persistence.enable_compression = true;
  for (const std::string& value : SomeValues(key)) {
    config::Settings changed = base;
    if (Set(key, value, changed) && StartedWith(changed) != StartedWith(base)) return true;
  }
  return false;
}

TEST(SettingsEffectTest, EveryKeyChangesWhatTheDaemonIsStartedWith) {
  for (const config::Key& key : config::Keys()) {
    EXPECT_NE(DoesSomething(key), config::IsFixed(key)) << key.name << " is read by nothing";
  }
}

}  // namespace
}  // namespace mptd
