#include "checkup/trial.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/posix_error.h"

namespace mptd::checkup {
namespace {

namespace fs = std::filesystem;

// Tables and lookups of a cache are made for its whole size.
constexpr uint64_t kLargestCache = uint64_t{64} << 20;
// Longer than any block of a trial takes on any disk; whoever waits longer is told instead of waiting for ever.
constexpr absl::Duration kPatience = absl::Minutes(5);

}  // namespace

EngineOptions ForTrial(EngineOptions options, std::string data_dir) {
  options.data_dir = std::move(data_dir);
  options.on_event = {};
  options.warm_up = false;
  for (uint64_t* bytes : {&options.node_cache_bytes, &options.row_cache_bytes, &options.block_cache_bytes,
                          &options.history_memory_bytes}) {
    *bytes = std::min(*bytes, kLargestCache);
  }
  // Limits of callers; what a trial does is not theirs.
  options.max_changes_per_block = 0;
  options.max_slots_per_account = 0;
  options.max_slots_per_block = 0;
  return options;
}

absl::StatusOr<ScratchFolder> ScratchFolder::Make(uint64_t bytes) {
  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);  // TMPDIR, when it names a folder
  std::string path = (error ? fs::path("/tmp") : parent) / "mptd-check-XXXXXX";
  const fs::space_info space = fs::space(fs::path(path).parent_path(), error);
  if (!error && space.available < bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat("%s are free in %s, %s are needed", SizeText(space.available),
                                                        fs::path(path).parent_path().string(), SizeText(bytes)));
  }
  if (::mkdtemp(path.data()) == nullptr) return storage::PosixError("making a folder to try things in,", path, errno);
  return ScratchFolder(std::move(path));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

absl::StatusOr<std::unique_ptr<Trial>> Trial::Open(const TrialOptions& options, std::string_view name,
                                                   const std::function<void(EngineOptions&)>& change) {
  std::unique_ptr<Trial> trial(new Trial(options));
  trial->options_ = ForTrial(options.engine, absl::StrFormat("%s/%s", options.scratch, name));
  if (change) change(trial->options_);
  if (absl::Status status = trial->Reopen(); !status.ok()) return status;
  return trial;
}

Trial::~Trial() {
  engine_.reset();
  std::error_code ignored;
  fs::remove_all(options_.data_dir, ignored);
}

absl::StatusOr<BlockInfo> Trial::Apply(std::vector<AccountChange> changes) {
  const EngineStatus status = engine_->Status();
  BlockChanges block;
  block.number = status.has_blocks ? status.head.number + 1 : 0;
  block.changes = std::move(changes);
  const absl::StatusOr<ApplyResult> applied = engine_->Apply(std::move(block), absl::Now() + kPatience);
  if (!applied.ok()) return applied.status();
  return applied->block;
}

absl::Status Trial::Flush() { return engine_->Flush().status(); }

absl::Status Trial::Reopen() {
  engine_.reset();
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = open_(options_);
  if (!engine.ok()) return engine.status();
  engine_ = *std::move(engine);
  return absl::OkStatus();
}

absl::Status Wrong(std::string_view what) { return absl::InternalError(absl::StrFormat("%s", what)); }

Finding ToFinding(std::string_view name, std::string_view expected, const absl::StatusOr<std::string>& shown) {
  Finding out{.name = std::string(name), .expected = std::string(expected)};
  if (shown.ok()) {
    out.measured = *shown;
    return out;
  }
  const absl::Status& status = shown.status();
  out.measured = std::string(status.message());
  if (absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status) || absl::IsNotFound(status)) {
    out.outcome = Outcome::kWarning;
    out.measured = absl::StrCat("could not be tried: ", out.measured);
    out.advice = "let TMPDIR name a folder that this user may write and that has room, and check again";
    return out;
  }
  out.outcome = Outcome::kFailed;
  out.advice =
      "put no daemon into service here; check again, test memory and disk (memtester, smartctl), and report it when "
      "another machine shows the same";
  return out;
}

Address TrialAddress(uint64_t i) {
  return Address::FromView(TrialSlot(i + 1).view().substr(Hash::kSize - Address::kSize));
}

Hash TrialSlot(uint64_t i) {
  return Hash{U256::FromUint64(i).be};
}

AccountChange TrialAccount(uint64_t i, uint64_t salt) {
  AccountChange out;
  out.address = TrialAddress(i);
  out.nonce = salt + 1;
  out.balance = U256::FromUint64(1000 * (i + 1) + salt);
  return out;
}

}  // namespace mptd::checkup
