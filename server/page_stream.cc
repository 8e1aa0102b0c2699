#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "core/errors.h"
#include "core/hex.h"
#include "mptd/v1/state.pb.h"
#include "server/converters.h"
#include "server/out_stream.h"
#include "server/streams.h"

namespace mptd {
namespace {

// Room for a row in a message: its key, the account, the tags.
constexpr size_t kRowBytes = 192;

class PageStream final : public OutStream {
 public:
  struct Page {
    grpc::ByteBuffer message;
    std::optional<Hash> next;
  };
  // Reads and serialises the page that starts at the key.
  using Fetch = std::function<absl::StatusOr<Page>(const StateView& view, const Hash& start)>;

  // `pin` is what lets the stream hold `view`; both are empty when Begin is to refuse it.
  PageStream(Rpc& rpc, Method method, grpc::CallbackServerContext* context, CallTrace trace, Gate::Ticket pin,
             StateViewPtr view, const Hash& start, Fetch fetch)
      : OutStream(rpc, method, context, std::move(trace)),
        pin_(std::move(pin)),
        fetch_(std::move(fetch)),
        opened_(absl::Now()),
        view_(std::move(view)),
        next_(start),
        resume_(start) {}

  void OnTick(absl::Time now) override;

 protected:
  Step Produce(grpc::ByteBuffer& message, absl::Status& end) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WantsJob() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunJob() override;
  void LetGo() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  const Gate::Ticket pin_;
  const Fetch fetch_;
  const absl::Time opened_;
  StateViewPtr view_ ABSL_GUARDED_BY(mutex_);
  std::optional<Hash> next_ ABSL_GUARDED_BY(mutex_);    // the page to read next
  std::optional<Page> ready_ ABSL_GUARDED_BY(mutex_);   // read, not sent
  std::optional<Hash> resume_ ABSL_GUARDED_BY(mutex_);  // behind all that was sent; absent after the last page
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  bool expired_ ABSL_GUARDED_BY(mutex_) = false;
  bool let_go_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more is to be held
};

absl::Status TooOld(absl::Duration age, const Hash& resume) {
  return WithReason(WithLimit(absl::AbortedError(absl::StrFormat(
                                  "the stream is older than %s; resume at next_key %s, of a newer block "
                                  "if this one is not served any more",
                                  absl::FormatDuration(age), ToHex(resume))),
                              "max_stream_age"),
                    "STREAM_TOO_OLD");
}

OutStream::Step PageStream::Produce(grpc::ByteBuffer& message, absl::Status& end) {
  if (!resume_.has_value()) return Step::kEnd;
  if (expired_) {
    end = TooOld(rpc_.limits().caller.stream_age, *resume_);
    return Step::kEnd;
  }
  if (ready_.has_value()) {
    message.Swap(&ready_->message);
    resume_ = ready_->next;
    ready_.reset();
    return Step::kMessage;
  }
  end = failed_;
  return failed_.ok() ? Step::kWait : Step::kEnd;
}

bool PageStream::WantsJob() { return next_.has_value() && !ready_.has_value() && failed_.ok() && view_ != nullptr; }

void PageStream::RunJob() {
  StateViewPtr view;
  Hash start;
  {
    const MutexLock lock(mutex_);
    if (view_ == nullptr) return;  // expired meanwhile
    view = view_;
    start = *next_;
  }
  absl::StatusOr<Page> page = fetch_(*view, start);
  const MutexLock lock(mutex_);
  if (!page.ok()) {
    failed_ = page.status();
    return;
  }
  next_ = page->next;
  if (!next_.has_value()) view_.reset();
  if (!let_go_) ready_ = *std::move(page);
}

void PageStream::LetGo() {
  let_go_ = true;
  view_.reset();
  ready_.reset();
}

void PageStream::OnTick(absl::Time now) {
  OutStream::OnTick(now);
  const absl::Duration age = now - opened_;
  const absl::Duration max_age = rpc_.limits().caller.stream_age;
  if (age < max_age) return;
  // Told at once, unless a page is stuck on its way; then the reader is given as long again before the call is cut off.
  if (age >= 2 * max_age) context_->TryCancel();
  {
    const MutexLock lock(mutex_);
    if (expired_) return;
    expired_ = true;
    LetGo();
  }
  Pump();
}

// What both calls have in common of their requests.
struct Rows {
  Gate::Ticket pin;
  StateViewPtr view;
  pb::Block block;
  Hash start;  // zero for the first
  size_t limit = 0;
};

template <typename Request>
absl::Status OpenRows(Rpc& rpc, const Request& request, Rows& out) {
  const absl::StatusOr<size_t> limit =
      ToPageSize(request.page_size(), rpc.limits().page_size, rpc.limits().caller.page_rows);
  if (!limit.ok()) return limit.status();
  out.limit = std::min(*limit, std::max<size_t>(rpc.limits().max_message_bytes / kRowBytes, 1));
  if (request.has_start_key()) {
    const absl::StatusOr<Hash> start = ToHash(request.start_key(), "start_key");
    if (!start.ok()) return start.status();
    out.start = *start;
  }
  if (absl::Status status = rpc.AdmitMemory(); !status.ok()) return status;
  out.pin = rpc.pinned_views().Enter();
  if (!out.pin) {
    return NoRoom("as many streams hold a view as limits.max_pinned_views allows; try again later", "max_pinned_views");
  }
  absl::StatusOr<StateViewPtr> view = rpc.calls().OpenView(request.block(), &out.block);
  if (!view.ok()) return view.status();
  out.view = *std::move(view);
  return absl::OkStatus();
}

template <typename Response>
absl::StatusOr<PageStream::Page> Finish(Response& response, const pb::Block& block, const std::optional<Hash>& next,
                                        size_t max_bytes) {
  *response.mutable_block() = block;
  if (next.has_value()) SetBytes(next->view(), response.mutable_next_key());
  PageStream::Page page{.message = {}, .next = next};
  if (absl::Status status = SerializeMessage(response, max_bytes, page.message); !status.ok()) return status;
  return page;
}

}  // namespace

WriteReactor* StartAccountStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request) {
  CallTrace trace(rpc.access(), Method::kStreamAccounts, *context);
  absl::Status status = trace.admitted();
  pb::StreamAccountsRequest parsed;
  if (status.ok()) status = ParseMessage(request, parsed);
  Rows rows;
  if (status.ok()) status = OpenRows(rpc, parsed, rows);
  auto fetch = [&rpc, block = rows.block, limit = rows.limit](const StateView& view,
                                                              const Hash& start) -> absl::StatusOr<PageStream::Page> {
    const absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(start, limit);
    if (!page.ok()) return page.status();
    pb::StreamAccountsResponse response;
    response.mutable_accounts()->Reserve(static_cast<int>(page->items.size()));
    for (const HashedAccount& row : page->items) {
      pb::HashedAccount* out = response.add_accounts();
      SetBytes(row.key.view(), out->mutable_key());
      FillAccount(row.account, out->mutable_account());
    }
    return Finish(response, block, page->next, rpc.limits().max_message_bytes);
  };
  return (new PageStream(rpc, Method::kStreamAccounts, context, std::move(trace), std::move(rows.pin), rows.view,
                         rows.start, std::move(fetch)))
      ->Begin(status);
}

WriteReactor* StartStorageStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request) {
  CallTrace trace(rpc.access(), Method::kStreamStorage, *context);
  absl::Status status = trace.admitted();
  pb::StreamStorageRequest parsed;
  if (status.ok()) status = ParseMessage(request, parsed);
  Address address;
  if (status.ok()) {
    const absl::StatusOr<Address> account = ToAddress(parsed.address(), "address");
    status = account.status();
    if (account.ok()) address = *account;
  }
  Rows rows;
  if (status.ok()) status = OpenRows(rpc, parsed, rows);
  auto fetch = [&rpc, address, block = rows.block, limit = rows.limit](
                   const StateView& view, const Hash& start) -> absl::StatusOr<PageStream::Page> {
    const absl::StatusOr<Page<HashedSlot>> page = view.ScanStorage(address, start, limit);
    if (!page.ok()) return page.status();
    pb::StreamStorageResponse response;
    response.mutable_slots()->Reserve(static_cast<int>(page->items.size()));
    for (const HashedSlot& row : page->items) {
      pb::HashedSlot* out = response.add_slots();
      SetBytes(row.key.view(), out->mutable_key());
      SetBytes(row.value.minimal(), out->mutable_value());
    }
    return Finish(response, block, page->next, rpc.limits().max_message_bytes);
  };
  return (new PageStream(rpc, Method::kStreamStorage, context, std::move(trace), std::move(rows.pin), rows.view,
                         rows.start, std::move(fetch)))
      ->Begin(status);
}

}  // namespace mptd
