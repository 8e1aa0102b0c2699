#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/health_name.h"
#include "cli/progress.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

using Admin = v1::AdminService::StubInterface;

std::string Checked(const v1::VerifyResponse& progress) {
  return absl::StrCat(CountText(progress.accounts_checked()), " accounts, ", CountText(progress.slots_checked()),
                      " slots, ", CountText(progress.nodes_checked()), " nodes");
}

Json CheckJson(const v1::VerifyResponse& result) {
  return {{"ok", result.ok()},
          {"block", BlockJson(result.block())},
          {"accounts_checked", result.accounts_checked()},
          {"slots_checked", result.slots_checked()},
          {"nodes_checked", result.nodes_checked()},
          {"difference", result.difference()}};
}

struct ReloadedKeys {
  std::vector<std::string> changed;
  std::vector<std::string> restart_needed;
  std::vector<std::string> unchanged;
};

ReloadedKeys SortKeys(const v1::ReloadConfigResponse& reloaded, const v1::GetConfigResponse& config) {
  ReloadedKeys out{{reloaded.changed().begin(), reloaded.changed().end()},
                   {reloaded.restart_needed().begin(), reloaded.restart_needed().end()},
                   {}};
  for (const v1::ConfigEntry& entry : config.entries()) {
    const bool named =
        std::ranges::count(out.changed, entry.key()) + std::ranges::count(out.restart_needed, entry.key()) > 0;
    if (!named) out.unchanged.push_back(entry.key());
  }
  return out;
}

// The keys that are not as before, and how many are.
std::string ReloadText(const ReloadedKeys& keys, const v1::GetConfigResponse& config) {
  const auto value = [&](const std::string& key) {
    const auto found = std::ranges::find(config.entries(), key, &v1::ConfigEntry::key);
    return found == config.entries().end() ? "-" : found->value();
  };
  std::string out;
  if (keys.changed.size() + keys.restart_needed.size() > 0) {
    Table table({{"KEY"}, {"IN EFFECT"}, {"NEW VALUE"}});
    for (const std::string& key : keys.changed) table.Add({key, value(key), "taken"});
    for (const std::string& key : keys.restart_needed) table.Add({key, value(key), "waits for a restart"});
    out = table.Render();
  }
  const size_t rest = keys.unchanged.size();
  if (out.empty()) return absl::StrCat(CountText(rest), " settings, all as before\n");
  return absl::StrCat(out, CountText(rest), rest == 1 ? " other setting is" : " other settings are", " as before\n");
}

}  // namespace

ExitCode RunStatus(Session& session) {
  v1::GetStatusResponse response;
  const grpc::Status status = session.client().Call(&Admin::GetStatus, v1::GetStatusRequest(), &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson(StatusJson(response));
  } else {
    session.terminal().Print(FieldLines(StatusFields(session.client().target(), response)));
  }
  return ExitCode::kOk;
}

ExitCode RunFlush(Session& session) {
  v1::FlushResponse response;
  const grpc::Status status = session.client().Call(&Admin::Flush, v1::FlushRequest(), &response, Patience::kLong);
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (session.json()) {
    session.PrintJson(BlockJson(response.block()));
  } else {
    session.terminal().Print("flushed up to " + BlockLine(response.block()) + "\n");
  }
  return ExitCode::kOk;
}

ExitCode RunPrune(Session& session, const PruneArgs& args) {
  v1::PruneRequest request;
  request.set_keep_blocks(args.keep);
  v1::PruneResponse response;
  const grpc::Status status = session.client().Call(&Admin::Prune, request, &response, Patience::kLong);
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (session.json()) {
    session.PrintJson(
        {{"pruned_blocks", response.pruned_blocks()}, {"oldest_served_number", response.oldest_served_number()}});
  } else {
    session.terminal().Print(absl::StrFormat("dropped the history of %s blocks; block %d is the oldest served\n",
                                             CountText(response.pruned_blocks()), response.oldest_served_number()));
  }
  return ExitCode::kOk;
}

ExitCode RunRotateKey(Session& session, const RotateKeyArgs& args) {
  v1::RotateKeysRequest request;
  request.set_new_data_key(args.data_key);
  request.set_rewrite_tables(args.rewrite);
  v1::RotateKeysResponse response;
  const grpc::Status status = session.client().Call(&Admin::RotateKeys, request, &response, Patience::kLong);
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (session.json()) {
    Json keys = Json::array();
    for (const uint32_t number : response.data_keys()) keys.push_back(number);
    session.PrintJson({{"master_key", response.master_key()}, {"data_key", response.data_key()}, {"data_keys", keys}});
  } else {
    session.terminal().Print(absl::StrFormat("master key %s wraps %d data %s; new files are encrypted with number %d\n",
                                             response.master_key(), response.data_keys_size(),
                                             response.data_keys_size() == 1 ? "key" : "keys", response.data_key()));
  }
  return ExitCode::kOk;
}

ExitCode RunCheck(Session& session, const CheckArgs& args) {
  if (!args.directory.empty()) return RunCheckFolder(session, args);
  grpc::ClientContext context;
  session.client().Prepare(context, Patience::kLong);
  const auto reader = session.client().admin().Verify(&context, v1::VerifyRequest());
  v1::VerifyResponse last;
  {
    Progress progress(session.terminal());
    while (reader->Read(&last)) progress.Update(std::nullopt, "checking: " + Checked(last));
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (!last.done())
    return session.Fail(ExitCode::kRefused, "the daemon ended the check before it was done; look at its log");
  if (session.json()) session.PrintJson(CheckJson(last));
  if (!last.ok()) {
    return session.Fail(ExitCode::kNo,
                        absl::StrFormat("%s differs: %s (checked %s); go back to a checkpoint", BlockLine(last.block()),
                                        OneLine(last.difference()), Checked(last)));
  }
  if (!session.json()) session.terminal().Print(BlockLine(last.block()) + " is whole: " + Checked(last) + "\n");
  return ExitCode::kOk;
}

ExitCode RunLogLevel(Session& session, const LogLevelArgs& args) {
  v1::SetLogLevelRequest request;
  request.set_level(args.level);
  request.set_module(args.module);
  v1::SetLogLevelResponse response;
  const grpc::Status status = session.client().Call(&Admin::SetLogLevel, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson({{"level", args.level}, {"module", args.module}, {"previous_level", response.previous_level()}});
  } else {
    session.terminal().Print(absl::StrFormat("the log level of %s is now %s, it was %s\n",
                                             args.module.empty() ? "all modules" : args.module, args.level,
                                             response.previous_level()));
  }
  return ExitCode::kOk;
}

ExitCode RunConfig(Session& session) {
  v1::GetConfigResponse response;
  const grpc::Status status = session.client().Call(&Admin::GetConfig, v1::GetConfigRequest(), &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    Json entries = Json::array();
    for (const v1::ConfigEntry& entry : response.entries()) {
      entries.push_back({{"key", entry.key()},
                         {"value", entry.value()},
                         {"source", entry.source()},
                         {"where", entry.where()},
                         {"runtime", entry.runtime()}});
    }
    session.PrintJson(entries);
    return ExitCode::kOk;
  }
  Table table({{"KEY"}, {"VALUE"}, {"SOURCE"}, {"WHERE"}, {"CHANGES BY"}});
  for (const v1::ConfigEntry& entry : response.entries()) {
    table.Add({entry.key(), entry.value(), entry.source(), entry.where().empty() ? "-" : entry.where(),
               entry.runtime() ? "reload" : "restart"});
  }
  session.terminal().Print(table.Render());
  return ExitCode::kOk;
}

ExitCode RunReloadConfig(Session& session) {
  v1::ReloadConfigResponse reloaded;
  grpc::Status status = session.client().Call(&Admin::ReloadConfig, v1::ReloadConfigRequest(), &reloaded);
  if (!status.ok()) return session.Refused(status);
  v1::GetConfigResponse config;  // what is in effect now
  status = session.client().Call(&Admin::GetConfig, v1::GetConfigRequest(), &config);
  if (!status.ok()) return session.Refused(status);
  const ReloadedKeys keys = SortKeys(reloaded, config);
  if (session.json()) {
    session.PrintJson(
        {{"changed", keys.changed}, {"restart_needed", keys.restart_needed}, {"unchanged", keys.unchanged}});
  } else {
    session.terminal().Print(ReloadText(keys, config));
  }
  return ExitCode::kOk;
}

ExitCode RunHealth(Session& session, const HealthArgs& args) {
  int serving = 0;
  const grpc::Status status = session.client().CheckHealth(args.service, &serving);
  const bool unknown = status.error_code() == grpc::StatusCode::NOT_FOUND;
  if (!status.ok() && !unknown) return session.Refused(status);
  const char* name = unknown ? "SERVICE_UNKNOWN" : HealthName(serving);
  if (session.json()) {
    session.PrintJson({{"service", args.service}, {"status", name}});
  } else {
    session.terminal().Print(absl::StrCat(name, "\n"));
  }
  return serving == kServing ? ExitCode::kOk : ExitCode::kNo;
}

ExitCode RunVersion(Session& session) {
  if (session.json()) {
    session.PrintJson({{"version", MPTD_VERSION}});
  } else {
    session.terminal().Print("mptctl " MPTD_VERSION "\n");
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
