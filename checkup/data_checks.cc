// The checks of what the daemon is given: settings, the data folder and what is in it, the version.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkup/checks.h"
#include "checkup/notes.h"
#include "config/exposure.h"
#include "core/hex.h"
#include "storage/data_dir.h"

namespace mptd::checkup {
namespace {

constexpr absl::Duration kRenewWithin = absl::Hours(24 * 14);

void JudgeCertificate(Notes& notes, const tls::TlsMaterial& files, absl::Time now) {
  const auto days = [now](absl::Time until) { return absl::ToInt64Hours(until - now) / 24; };
  notes.Measured(absl::StrFormat("the certificate of %s fits its key and is valid for %d days", files.subject,
                                 days(files.not_after)));
  // A fifth of its life: those that live for a day are renewed in time, too.
  const bool old = files.not_after - now < 0.2 * (files.not_after - files.not_before);
  if (old && files.not_after - now < kRenewWithin) notes.Wrong(Outcome::kWarning, "renew the certificate");
  if (!files.client_ca.empty()) notes.Measured("callers are asked for certificates");
  if (files.next_update == absl::InfiniteFuture()) return;
  notes.Measured(absl::StrFormat("the revocation lists are good for %d days", days(files.next_update)));
}

void JudgeFormat(Notes& notes, const absl::Status& format) {
  notes.Measured(Text(format));
  notes.Wrong(Outcome::kFailed,
              absl::IsDataLoss(format)
                  ? "restore a checkpoint into a new folder and start on that; keep the damaged one for analysis"
                  : "make the folder readable for this user");
}

void JudgeLog(Notes& notes, const absl::StatusOr<storage::ChangeLogSummary>& log) {
  if (absl::IsNotFound(log.status())) return notes.Measured("no change log yet");
  if (!log.ok()) {
    notes.Measured(Text(log.status()));
    return notes.Wrong(Outcome::kFailed, absl::IsDataLoss(log.status())
                                             ? "restore a checkpoint into a new folder: the change log is damaged"
                                             : "make the change log readable for this user");
  }
  notes.Measured(absl::StrFormat("change log whole: %d records in %s", log->records, SizeText(log->disk_bytes)));
}

void JudgeState(Notes& notes, const absl::StatusOr<std::optional<StoredState>>& state,
                const std::optional<Hash>& genesis) {
  if (!state.ok()) {
    notes.Measured(Text(state.status()));
    if (absl::IsFailedPrecondition(state.status())) {
      return notes.Wrong(Outcome::kFailed, "remove the data folder, and run mptd import again");
    }
    return notes.Wrong(Outcome::kFailed, absl::IsDataLoss(state.status())
                                             ? "restore a checkpoint into a new folder: the tables are damaged"
                                             : "make the tables readable for this user");
  }
  if (!state->has_value()) return notes.Measured("no blocks in the tables yet");
  notes.Measured(absl::StrFormat("tables up to block %d", (*state)->head.number));
  if (!genesis.has_value() || (*state)->genesis_root == genesis) return;
  notes.Measured((*state)->genesis_root.has_value() ? absl::StrFormat("genesis root %s", ToHex(*(*state)->genesis_root))
                                                    : "the first block was not a genesis");
  notes.Expected(absl::StrFormat("the genesis root of server.genesis, %s", ToHex(*genesis)));
  notes.Wrong(Outcome::kFailed, "correct server.genesis, or server.data_dir: this is the data of another chain");
}

}  // namespace

Finding CheckConfiguration(const config::Settings& settings) {
  Notes notes("configuration");
  notes.Measured(absl::StrFormat("valid; persistence.mode %s, logging.level %s",
                                 config::Name(settings.persistence.mode), settings.logging.level));
  notes.Expected("persistence.mode sync or batched; logging.level info or warn");
  if (settings.persistence.mode == config::PersistenceMode::kAsync) {
    notes.Wrong(Outcome::kWarning,
                "set persistence.mode to batched or sync: a crash takes back the blocks that are still in the queue");
  }
  if (!settings.cache.enable_account_cache || settings.cache.row_cache_bytes == 0) {
    notes.Measured("the cache of accounts and slots is disabled");
    notes.Wrong(Outcome::kFailed, "set cache.enable_account_cache to true, and leave cache.row_cache_bytes above 0");
  }
  if (settings.logging.level == "trace" || settings.logging.level == "debug") {
    notes.Wrong(Outcome::kWarning, "set logging.level to info: this one fills the disk");
  } else if (settings.logging.level == "critical" || settings.logging.level == "off") {
    notes.Wrong(Outcome::kWarning, "set logging.level to info: errors are not logged with this one");
  }
  return notes.Take();
}

Finding CheckPermissions(const Readings& readings) {
  const FolderReading& folder = readings.folder;
  Notes notes("permissions");
  notes.Expected("a folder that this user may write, and others may not; files of the log and folders of backups, too");
  const std::string what = folder.is_data_dir ? folder.path : folder.path + ", where the data folder would be made,";
  if (!folder.exists) {
    notes.Measured(what + " is not there");
    notes.Wrong(Outcome::kFailed, absl::StrFormat("make the folder %s", folder.path));
  } else if (!folder.is_folder) {
    notes.Measured(what + " is not a folder");
    notes.Wrong(Outcome::kFailed, "name another folder in server.data_dir");
  } else {
    notes.Measured(absl::StrFormat("%s belongs to user %d and is%s writable for user %d", what, folder.owner,
                                   folder.usable ? "" : " not", folder.user));
    if (!folder.usable) {
      notes.Wrong(Outcome::kFailed, absl::StrFormat("chown it to the daemon's user, or chmod u+rwx %s", folder.path));
    } else if (folder.is_data_dir && folder.user == 0 && folder.owner != 0) {
      notes.Wrong(Outcome::kWarning,
                  absl::StrFormat("run this check and the daemon as user %d: root may do anything, and what it makes "
                                  "the other user cannot write",
                                  folder.owner));
    }
    if (folder.is_data_dir && folder.others_write) {
      notes.Measured("others may write it");
      notes.Wrong(Outcome::kWarning, absl::StrFormat("chmod o-w %s", folder.path));
    }
  }
  const std::pair<const absl::Status&, std::string_view> others[] = {{readings.log_file, "logging.file"},
                                                                     {readings.audit_file, "security.audit_file"},
                                                                     {readings.backup_dir, "backup.dir"}};
  for (const auto& [status, setting] : others) {
    if (status.ok()) continue;
    notes.Measured(Text(status));
    notes.Wrong(Outcome::kFailed,
                absl::StrFormat("name a place in %s that this user may write, or make the folder", setting));
  }
  return notes.Take();
}

Finding CheckSecrets(const Readings& readings, const config::Settings& settings) {
  Notes notes("secrets");
  notes.Expected("files of tokens and a master key that the daemon can use and nobody else can read");
  const config::Settings::Security& security = settings.security;
  const bool tokens = !security.jwt_secret_file.empty() || !security.jwt_public_key_file.empty();
  const bool key = !security.encryption_key_file.empty() || !security.encryption_key_env.empty() ||
                   !security.encryption_key_command.empty();
  for (const absl::Status* status : {&readings.tokens, &readings.master_key}) {
    if (status->ok()) continue;
    notes.Measured(Text(*status));
    notes.Wrong(Outcome::kFailed, "correct what is named: the daemon does not start with it");
  }
  if (tokens && readings.tokens.ok()) notes.Measured("callers show tokens");
  if (key && readings.master_key.ok()) notes.Measured("the data is encrypted");
  if (tokens || key || !readings.tokens.ok()) return notes.Take();
  return notes.Skip("no tokens and no encryption are set");
}

Finding CheckTls(const config::Settings& settings, const absl::StatusOr<tls::TlsMaterial>& files, absl::Time now) {
  Notes notes("tls");
  notes.Expected("addresses that only this machine reaches, or TLS with files that are good for weeks");
  std::vector<std::string> open;
  const bool tls = !settings.security.tls_cert_file.empty();
  for (const std::string& address : settings.server.listen) {
    if (!tls && !config::OnlyThisMachine(address)) open.push_back(address);
  }
  if (!tls && !config::OnlyThisMachine(settings.server.admin_listen)) open.push_back(settings.server.admin_listen);
  if (!config::OnlyThisMachine(settings.server.http_listen)) open.push_back(settings.server.http_listen);
  if (!open.empty()) {
    notes.Measured(absl::StrFormat("%s is served in the clear", absl::StrJoin(open, ", ")));
    notes.Wrong(Outcome::kWarning, "let only a private network or a proxy with TLS reach these addresses");
  }
  if (!tls) {
    if (!open.empty()) return notes.Take();
    return notes.Skip("only this machine is answered, and no TLS is set");
  }
  if (!files.ok()) {
    notes.Measured(Text(files.status()));
    notes.Wrong(Outcome::kFailed, "correct what is named: the daemon does not start with it");
    return notes.Take();
  }
  JudgeCertificate(notes, *files, now);
  return notes.Take();
}

Finding CheckData(const DataReading& data, const std::optional<Hash>& genesis) {
  Notes notes("data");
  notes.Expected("no data yet, or whole data of this chain that no process has open");
  if (absl::IsFailedPrecondition(data.lock)) {
    notes.Measured(Text(data.lock));
    notes.Wrong(Outcome::kFailed,
                "stop that process before another daemon starts; ask it how it is with mptctl doctor");
    return notes.Take();
  }
  if (!data.lock.ok()) {
    notes.Measured(Text(data.lock));
    notes.Wrong(Outcome::kFailed, "make the folder readable for this user");
    return notes.Take();
  }
  if (absl::IsNotFound(data.format)) {
    notes.Measured("no data yet");
    return notes.Take();
  }
  // That check says what to do about it.
  if (absl::IsFailedPrecondition(data.format)) return notes.Skip("of a newer format, see version");
  if (!data.format.ok()) {
    JudgeFormat(notes, data.format);
    return notes.Take();
  }
  if (!data.keys.ok()) {
    notes.Measured(Text(data.keys));
    notes.Wrong(Outcome::kFailed, "give the master key that the data is encrypted with, see docs/ENCRYPTION.md");
    return notes.Take();
  }
  JudgeLog(notes, data.log);
  JudgeState(notes, data.state, genesis);
  return notes.Take();
}

Finding CheckVersion(const DataReading& data, std::string_view version) {
  Notes notes("version");
  notes.Measured(absl::StrFormat("mptd %s, data formats up to %d", version, storage::kFormatVersion));
  notes.Expected("data of a format that this program reads");
  if (!absl::IsFailedPrecondition(data.format)) return notes.Take();
  notes.Measured(Text(data.format));
  notes.Wrong(Outcome::kFailed, "install the version of mptd that wrote the data, or a newer one");
  return notes.Take();
}

std::vector<Finding> CheckAll(const Readings& readings, const config::Settings& settings,
                              const std::optional<Hash>& genesis, std::string_view version) {
  return {CheckConfiguration(settings),
          CheckDiskSpeed(readings.sync),
          CheckSpace(readings.space, settings),
          CheckMemory(readings.memory, settings),
          CheckFileLimits(readings.files, settings),
          CheckPorts(readings.listen),
          CheckClock(readings.clock),
          CheckCpu(readings.cpu, settings),
          CheckKernel(readings.kernel, readings.memory),
          CheckPermissions(readings),
          CheckSecrets(readings, settings),
          CheckTls(settings, readings.tls, readings.now),
          CheckData(readings.data, genesis),
          CheckVersion(readings.data, version)};
}

}  // namespace mptd::checkup
