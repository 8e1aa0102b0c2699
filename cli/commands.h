// What each subcommand does, apart from how its arguments are read (app.h). Each prints its answer, or one line saying
// what went wrong, and returns the code to exit with. Texts in the arguments have been checked when they are parsed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/changes_json.h"
#include "cli/session.h"

namespace mptd::cli {

// commands_read.cc: questions about a block's state.
struct AccountArgs {
  std::vector<std::string> addresses;
};
struct StorageArgs {
  std::string address;
  std::vector<std::string> slots;
};
struct CodeArgs {
  std::string address_or_hash;
};
struct BlockArgs {
  std::optional<At> block;  // --at when absent
};
ExitCode RunRoot(Session& session);
ExitCode RunBlock(Session& session, const BlockArgs& args);
ExitCode RunAccount(Session& session, const AccountArgs& args);
ExitCode RunStorage(Session& session, const StorageArgs& args);
ExitCode RunCode(Session& session, const CodeArgs& args);

// commands_proof.cc: proofs, made and checked.
struct MultiProofArgs {
  std::vector<std::string> targets;  // ADDRESS or ADDRESS:SLOT,SLOT...
};
struct VerifyArgs {
  std::string root;
  std::string file;
};
ExitCode RunProof(Session& session, const StorageArgs& args);
ExitCode RunMultiProof(Session& session, const MultiProofArgs& args);
ExitCode RunVerify(Session& session, const VerifyArgs& args);
absl::StatusOr<v1::ProofTarget> ParseProofTarget(std::string_view text);

// commands_list.cc: answers that come in pieces.
struct BlocksArgs {
  std::optional<uint64_t> from;
  bool follow = true;
};
struct ListArgs {
  std::string address;  // of slots
  uint64_t limit = 0;   // 0: all
  uint32_t page_size = 1000;
  std::string start;  // a hashed key
};
ExitCode RunBlocks(Session& session, const BlocksArgs& args);
ExitCode RunAccounts(Session& session, const ListArgs& args);
ExitCode RunSlots(Session& session, const ListArgs& args);

// commands_write.cc: what changes the head, and the dry run.
struct ApplyArgs {
  std::string file;
  BlockOptions options;
};
struct ComputeRootArgs {
  std::string file;
  bool keep_empty_accounts = false;
  bool check_root = true;
};
struct RollbackArgs {
  At to;
  bool yes = false;
};
ExitCode RunApply(Session& session, const ApplyArgs& args);
ExitCode RunComputeRoot(Session& session, const ComputeRootArgs& args);
ExitCode RunRollback(Session& session, const RollbackArgs& args);
// import.cc
ExitCode RunImport(Session& session, const ApplyArgs& args);

// commands_admin.cc: the daemon itself.
struct PruneArgs {
  uint64_t keep = 0;
};
// Where the master key of encrypted data is: at most one of them is not empty.
struct MasterKeyArgs {
  std::string file;
  std::string environment;
  std::string command;
};
struct RotateKeyArgs {
  bool data_key = false;
  bool rewrite = false;
};
struct LogLevelArgs {
  std::string level;
  std::string module;
};
struct HealthArgs {
  std::string service;
};
ExitCode RunStatus(Session& session);
ExitCode RunFlush(Session& session);
ExitCode RunPrune(Session& session, const PruneArgs& args);
ExitCode RunRotateKey(Session& session, const RotateKeyArgs& args);
struct CheckArgs {
  std::string directory;  // empty: the daemon's data, by the daemon
  bool repair = false;
  MasterKeyArgs key;  // of the data in `directory`
};
ExitCode RunCheck(Session& session, const CheckArgs& args);
ExitCode RunCheckFolder(Session& session, const CheckArgs& args);  // commands_check.cc
ExitCode RunLogLevel(Session& session, const LogLevelArgs& args);
ExitCode RunConfig(Session& session);
ExitCode RunReloadConfig(Session& session);
ExitCode RunHealth(Session& session, const HealthArgs& args);
ExitCode RunVersion(Session& session);
// commands_metrics.cc
ExitCode RunMetrics(Session& session);

// commands_doctor.cc: what is wrong with the daemon.
struct DoctorArgs {
  std::string metrics_url;  // empty: as GetConfig says
};
ExitCode RunDoctor(Session& session, const DoctorArgs& args);

// commands_audit.cc: files of this machine.
struct AuditVerifyArgs {
  std::vector<std::string> files;
  std::string expect_last;
};
ExitCode RunAuditVerify(Session& session, const AuditVerifyArgs& args);

// commands_checkpoint.cc: made by the daemon; all else works on folders of this machine, without one.
struct CheckpointArgs {
  std::string directory;
  bool verify = false;
};
struct CheckpointFolderArgs {
  std::string directory;
};
struct CheckpointRestoreArgs {
  std::string checkpoint;
  std::string data_dir;
  bool full = false;
  MasterKeyArgs key;  // when the data is or becomes encrypted
};
ExitCode RunCheckpoint(Session& session, const CheckpointArgs& args);
ExitCode RunCheckpointList(Session& session, const CheckpointFolderArgs& args);
ExitCode RunCheckpointVerify(Session& session, const CheckpointFolderArgs& args);
ExitCode RunCheckpointRestore(Session& session, const CheckpointRestoreArgs& args);

}  // namespace mptd::cli
