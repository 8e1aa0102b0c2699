#include "cli/import.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/render.h"
#include "cli/values.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

using Stream =
    grpc::ClientReaderWriterInterface<v1::ApplyStateChangesStreamRequest, v1::ApplyStateChangesStreamResponse>;

// What the thread that reads the file and sends blocks tells the one that waits for acknowledgements. Safe from both.
class Sender {
 public:
  void Sending(uint64_t number, std::string where) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace_back(number, std::move(where));
  }
  void Acknowledged() {
    const std::lock_guard lock(mutex_);
    if (!waiting_.empty()) waiting_.pop_front();
  }
  void Warn(const std::string& text) {
    const std::lock_guard lock(mutex_);
    warnings_.push_back(text);
  }
  std::vector<std::string> TakeWarnings() {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }
  // "block 7 (blocks.json:3): " of the oldest block without an acknowledgement; empty when there is none.
  std::string OldestWaiting() {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return {};
    return absl::StrFormat("block %d (%s): ", waiting_.front().first, waiting_.front().second);
  }

 private:
  // Not absl::Mutex: Debian's Abseil is built without the hooks that ThreadSanitizer needs to see it.
  std::mutex mutex_;
  std::vector<std::string> warnings_;                     // guarded by mutex_
  std::deque<std::pair<uint64_t, std::string>> waiting_;  // guarded by mutex_; oldest first
};

struct Received {
  uint64_t blocks = 0;
  uint64_t already_applied = 0;
  uint64_t accounts = 0;
  uint64_t slots = 0;
  v1::ApplyStateChangesResponse last;
};

// Runs on its own thread. Ends when the file does, or when the stream is broken (CANCELLED; then Finish() knows why).
absl::Status SendBlocks(InputFile& input, const BlockOptions& options, ResumeFilter& filter, Stream& stream,
                        Sender& sender) {
  const auto send = [&](InputBlock block) -> absl::Status {
    const absl::StatusOr<bool> wanted = filter.Wants(block.request);
    if (!wanted.ok()) return absl::FailedPreconditionError(absl::StrCat(block.where, ": ", wanted.status().message()));
    if (!*wanted) return absl::OkStatus();
    sender.Sending(block.request.number(), std::move(block.where));
    v1::ApplyStateChangesStreamRequest request;
    request.mutable_block()->Swap(&block.request);
    return stream.Write(request) ? absl::OkStatus() : absl::CancelledError("the stream is broken");
  };
  absl::Status status = ReadBlocks(input, options, send, [&](const std::string& text) { sender.Warn(text); });
  if (status.ok()) status = filter.Finish();
  stream.WritesDone();
  return status;
}

std::string Rate(const Received& received, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  return absl::StrFormat("%s blocks/s, %s accounts/s",
                         CountText(static_cast<uint64_t>(static_cast<double>(received.blocks) / seconds)),
                         CountText(static_cast<uint64_t>(static_cast<double>(received.accounts) / seconds)));
}

// Reads acknowledgements until the stream ends.
Received ReceiveResults(Session& session, const InputFile& input, Stream& stream, Sender& sender, absl::Time start) {
  Received received;
  Progress progress(session.terminal());
  v1::ApplyStateChangesStreamResponse response;
  while (stream.Read(&response)) {
    received.last = response.result();
    ++received.blocks;
    received.already_applied += received.last.already_applied() ? 1 : 0;
    received.accounts += received.last.accounts_changed();
    received.slots += received.last.slots_changed();
    sender.Acknowledged();
    progress.Update(input.FractionRead(),
                    absl::StrCat("block ", received.last.block().number(), "  ", Rate(received, absl::Now() - start)));
  }
  return received;
}

void PrintSummary(Session& session, const Received& received, uint64_t skipped, absl::Duration elapsed) {
  if (session.json()) {
    session.PrintJson({{"applied", received.blocks - received.already_applied},
                       {"already_applied", received.already_applied},
                       {"skipped", skipped},
                       {"accounts_changed", received.accounts},
                       {"slots_changed", received.slots},
                       {"seconds", absl::ToDoubleSeconds(elapsed)},
                       {"head", received.blocks > 0 ? BlockJson(received.last.block()) : Json(nullptr)},
                       {"durable_number", received.blocks > 0 ? Json(received.last.durable_number()) : Json(nullptr)}});
    return;
  }
  std::string text = absl::StrFormat("%s blocks applied", CountText(received.blocks - received.already_applied));
  const uint64_t had = skipped + received.already_applied;
  if (had > 0) absl::StrAppend(&text, ", ", CountText(had), " were there already");
  if (received.blocks > 0) {
    absl::StrAppend(&text, " (", CountText(received.accounts), " accounts, ", CountText(received.slots), " slots; ",
                    Rate(received, elapsed), ")\nhead: ", BlockLine(received.last.block()),
                    "\nstate root: ", ToHex(received.last.block().state_root()));
  }
  session.terminal().Print(text + "\n");
}

}  // namespace

absl::Status ResumeFilter::Compare(const v1::ApplyStateChangesRequest& block) const {
  const bool both_hashes = !block.hash().empty() && !head_.hash().empty();
  const bool same_hash = !both_hashes || block.hash() == head_.hash();
  const bool same_root = !block.has_expected_root() || block.expected_root() == head_.state_root();
  if (same_hash && same_root) return absl::OkStatus();
  const bool by_hash = !same_hash;
  return absl::FailedPreconditionError(absl::StrFormat(
      "the file's block %d has the %s %s, the daemon's head the %s %s: another chain; `mptctl rollback --to REF` goes "
      "back "
      "to where they part",
      block.number(), by_hash ? "hash" : "state root", ToHex(by_hash ? block.hash() : block.expected_root()),
      by_hash ? "hash" : "state root", ToHex(by_hash ? head_.hash() : head_.state_root())));
}

absl::StatusOr<bool> ResumeFilter::Wants(const v1::ApplyStateChangesRequest& block) {
  if (skipping_ && block.number() <= head_.number() && !block.reorganize()) {
    if (block.number() == head_.number()) mismatch_ = Compare(block);
    ++skipped_;
    return false;
  }
  if (!mismatch_.ok() && !block.reorganize()) return mismatch_;
  mismatch_ = absl::OkStatus();
  skipping_ = false;
  return true;
}

ExitCode RunImport(Session& session, const ApplyArgs& args) {
  absl::StatusOr<std::unique_ptr<InputFile>> input = InputFile::Open(args.file);
  if (!input.ok()) return session.Fail(ExitCode::kUsage, std::string(input.status().message()));
  v1::GetStatusResponse before;
  grpc::Status status =
      session.client().Call(&v1::AdminService::StubInterface::GetStatus, v1::GetStatusRequest(), &before);
  if (!status.ok()) return session.Refused(status);
  const absl::Time start = absl::Now();
  ResumeFilter filter(before);
  Sender sender;
  absl::Status input_status;  // of the thread, until it is joined
  grpc::ClientContext context;
  session.client().Prepare(context, Patience::kLong);
  const auto stream = session.client().state().ApplyStateChangesStream(&context);
  std::thread thread([&] { input_status = SendBlocks(**input, args.options, filter, *stream, sender); });
  const Received received = ReceiveResults(session, **input, *stream, sender, start);
  thread
      .join();  // its writes fail once the daemon has ended the stream; cancelling here would hide the daemon's status
  status = stream->Finish();
  for (const std::string& warning : sender.TakeWarnings()) session.terminal().Error(warning);
  const bool nothing = received.blocks == 0 && filter.skipped() == 0;
  if (!nothing) PrintSummary(session, received, filter.skipped(), absl::Now() - start);
  if (!status.ok()) {
    return session.Fail(ExitCode::kRefused,
                        absl::StrCat(sender.OldestWaiting(), session.client().Describe(status, Patience::kLong),
                                     "; the same import again goes on from here"));
  }
  if (absl::IsFailedPrecondition(input_status)) return session.Refused(input_status);
  if (!input_status.ok()) return session.Fail(ExitCode::kUsage, std::string(input_status.message()));
  if (nothing) return session.Fail(ExitCode::kUsage, absl::StrCat((*input)->name(), ": no blocks in it"));
  return ExitCode::kOk;
}

}  // namespace mptd::cli
