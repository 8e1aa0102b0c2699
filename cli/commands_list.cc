#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"
#include "core/decimal.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

// How many blocks `blocks --no-follow` shows when it is not told where to start.
constexpr uint64_t kRecentBlocks = 10;

// Counts entries against --limit and remembers where to go on.
class Window {
 public:
  explicit Window(uint64_t limit) : limit_(limit) {}
  bool full() const { return limit_ != 0 && shown_ == limit_; }
  // True when `key` is still to be shown.
  bool Take(const std::string& key) {
    if (full()) {
      if (resume_.empty()) resume_ = key;
      return false;
    }
    ++shown_;
    return true;
  }
  // After a page. True when the next one is wanted.
  bool NextPage(const std::string& next_key) {
    if (!full()) return true;
    if (resume_.empty()) resume_ = next_key;
    return false;
  }
  const std::string& resume() const { return resume_; }

 private:
  const uint64_t limit_;
  uint64_t shown_ = 0;
  std::string resume_;
};

// A page is never larger than what is to be shown.
uint32_t PageSize(const ListArgs& args) {
  if (args.limit == 0) return args.page_size;
  return static_cast<uint32_t>(std::min<uint64_t>(args.page_size, args.limit));
}

void PrintResume(Session& session, const Window& window, uint64_t number) {
  if (window.resume().empty()) return;
  session.terminal().Note(absl::StrFormat("more: --at %d --start %s\n", number, ToHex(window.resume())));
}

// Reads pages until the limit or the reader's end. `page` prints one and says whether the next one is wanted.
template <typename Response, typename Reader, typename Page>
ExitCode ReadPages(Session& session, grpc::ClientContext& context, Reader reader, Page page) {
  Response response;
  bool stopped = false;
  while (!stopped && reader->Read(&response)) stopped = !page(response);
  if (stopped) context.TryCancel();
  while (stopped && reader->Read(&response)) {
  }
  const grpc::Status status = reader->Finish();
  if (!stopped && !status.ok()) return session.Refused(status, Patience::kLong);
  return ExitCode::kOk;
}

Table AccountTable() {
  return Table({{"HASHED ADDRESS", Table::Align::kLeft, 66},
                {"NONCE", Table::Align::kRight, 8},
                {"WEI", Table::Align::kRight, 24},
                {"ETHER", Table::Align::kRight, 24},
                {"CODE", Table::Align::kLeft, 4},
                {"STORAGE"}});
}

// Where to start when nothing is said and the stream is not followed: the newest few.
grpc::Status RecentStart(Session& session, std::optional<uint64_t>& from) {
  v1::GetStatusResponse status;
  const grpc::Status called =
      session.client().Call(&v1::AdminService::StubInterface::GetStatus, v1::GetStatusRequest(), &status);
  if (!called.ok() || !status.has_blocks()) return called;
  const uint64_t head = status.head().number();
  from = std::max(status.oldest_served_number(), head - std::min(head, kRecentBlocks - 1));
  return called;
}

}  // namespace

ExitCode RunBlocks(Session& session, const BlocksArgs& args) {
  std::optional<uint64_t> from = args.from;
  if (!args.follow && !from.has_value()) {
    const grpc::Status status = RecentStart(session, from);
    if (!status.ok()) return session.Refused(status);
    if (!from.has_value()) return ExitCode::kOk;  // no block yet
  }
  v1::StreamBlocksRequest request;
  if (from.has_value()) request.set_from_number(*from);
  request.set_stop_at_head(!args.follow);
  Table table({{"BLOCK", Table::Align::kRight, 10},
               {"HASH", Table::Align::kLeft, 66},
               {"STATE ROOT", Table::Align::kLeft, 66},
               {"NOTE"}});
  if (!session.json()) session.terminal().Print(table.Render());
  grpc::ClientContext context;
  session.client().Prepare(context, Patience::kLong);
  return ReadPages<v1::StreamBlocksResponse>(
      session, context, session.client().state().StreamBlocks(&context, request),
      [&](const v1::StreamBlocksResponse& item) {
        if (session.json()) {
          Json out = BlockJson(item.block());
          out["rolled_back"] = item.rolled_back();
          return session.PrintJson(out);
        }
        const char* note = item.rolled_back() ? "rolled back to here" : item.block().durable() ? "" : "not durable yet";
        table.Add({absl::StrCat(item.block().number()), HexOrDash(item.block().hash()),
                   HexOrDash(item.block().state_root()), note});
        return session.terminal().Print(table.Render());
      });
}

ExitCode RunAccounts(Session& session, const ListArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::StreamAccountsRequest request;
  *request.mutable_block() = *at;
  request.set_page_size(PageSize(args));
  if (!args.start.empty()) request.set_start_key(HashBytes(args.start).value());
  Table table = AccountTable();
  Window window(args.limit);
  uint64_t number = 0;
  grpc::ClientContext context;
  session.client().Prepare(context, Patience::kLong);
  const ExitCode code = ReadPages<v1::StreamAccountsResponse>(
      session, context, session.client().state().StreamAccounts(&context, request),
      [&](const v1::StreamAccountsResponse& page) {
        number = page.block().number();
        std::string text;
        for (const v1::HashedAccount& entry : page.accounts()) {
          if (!window.Take(entry.key())) break;
          const v1::Account& account = entry.account();
          if (session.json()) {
            Json line = {{"key", ToHex(entry.key())}};
            AddAccountJson(account, line);
            text += line.dump() + "\n";
            continue;
          }
          table.Add({ToHex(entry.key()), absl::StrCat(account.nonce()), ToDecimal(account.balance()),
                     EtherText(account.balance()), account.code_hash() == kEmptyCodeHash.view() ? "no" : "yes",
                     account.storage_root() == kEmptyRoot.view() ? "no" : "yes"});
        }
        if (!session.json()) text = table.Render();
        return session.terminal().Print(text) && window.NextPage(page.next_key());
      });
  if (code == ExitCode::kOk) PrintResume(session, window, number);
  return code;
}

ExitCode RunSlots(Session& session, const ListArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::StreamStorageRequest request;
  *request.mutable_block() = *at;
  request.set_address(AddressBytes(args.address).value());
  request.set_page_size(PageSize(args));
  if (!args.start.empty()) request.set_start_key(HashBytes(args.start).value());
  Table table({{"HASHED SLOT", Table::Align::kLeft, 66}, {"VALUE", Table::Align::kLeft, 66}});
  Window window(args.limit);
  uint64_t number = 0;
  grpc::ClientContext context;
  session.client().Prepare(context, Patience::kLong);
  const ExitCode code = ReadPages<v1::StreamStorageResponse>(
      session, context, session.client().state().StreamStorage(&context, request),
      [&](const v1::StreamStorageResponse& page) {
        number = page.block().number();
        std::string text;
        for (const v1::HashedSlot& slot : page.slots()) {
          if (!window.Take(slot.key())) break;
          const std::string value = QuantityHex(slot.value());
          if (session.json()) {
            text += Json{{"key", ToHex(slot.key())}, {"value", value}}.dump() + "\n";
          } else {
            table.Add({ToHex(slot.key()), value});
          }
        }
        if (!session.json()) text = table.Render();
        return session.terminal().Print(text) && window.NextPage(page.next_key());
      });
  if (code == ExitCode::kOk) PrintResume(session, window, number);
  return code;
}

}  // namespace mptd::cli
