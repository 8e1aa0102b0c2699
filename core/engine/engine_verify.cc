// Recomputing every trie of the head from the flat tables, and comparing it with the rows of branches.
#include <memory>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/engine/engine_impl.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"

namespace mptd {
namespace {

using storage::Table;

constexpr uint64_t kProgressEvery = 4096;

std::string ShowPath(const Hash* account, const NibblePath& path) {
  std::string text = account == nullptr ? "" : ToHex(*account) + "/";
  for (size_t i = 0; i < path.size; ++i) text.push_back("0123456789abcdef"[path.at(i)]);
  return text.empty() ? "(root)" : text;
}

bool SameBranch(const BranchValue& a, const BranchValue& b) {
  Bytes x;
  Bytes y;
  AppendBranchRecord(x, a);
  AppendBranchRecord(y, b);
  return x == y;
}

// One pass over a view. Belongs to one thread.
class Verifier {
 public:
  Verifier(const ViewImpl& view, const storage::KeyValueStore& kv,
           const std::function<bool(const VerifyProgress&)>& progress)
      : view_(view), kv_(kv), progress_(progress) {}

  // OK with an empty difference when all rows are right. CANCELLED when the progress callback stops it.
  absl::Status Run(VerifyReport& report);

 private:
  void Compare(const Hash* account, const NibblePath& path, const BranchValue& branch);
  absl::Status CheckBranches(const Hash* account, std::span<const std::pair<NibblePath, BranchValue>> branches);
  absl::Status CheckStorage(const Hash& account, const Hash& expected_root);
  absl::Status CheckExtraSlots();
  absl::Status CheckExtraBranches(Table table);
  static uint64_t RowHash(Table table, BytesView key) {
    return absl::HashOf(static_cast<int>(table), std::hash<BytesView>()(key));
  }
  void Expect(const Hash* account, const NibblePath& path) {
    Bytes key;
    AppendNodeKey(key, account, path);
    expected_rows_.insert(RowHash(NodeTable(account), key));
  }
  absl::Status CheckCode(const Hash& key, const Account& account);
  absl::Status Step();
  void Differ(std::string what) {
    if (difference_.empty()) difference_ = std::move(what);
  }

  const ViewImpl& view_;
  const storage::KeyValueStore& kv_;
  const std::function<bool(const VerifyProgress&)>& progress_;
  VerifyProgress checked_;
  uint64_t steps_ = 0;
  std::vector<std::pair<NibblePath, BranchValue>> account_branches_;
  std::vector<std::pair<NibblePath, BranchValue>> storage_branches_;
  absl::flat_hash_set<uint64_t> expected_rows_;  // hashes of the keys of all branches that the flat tables give
  std::string difference_;
};

absl::Status Verifier::Step() {
  if (++steps_ % kProgressEvery == 0 && progress_ && !progress_(checked_)) {
    return absl::CancelledError("verification was stopped");
  }
  return absl::OkStatus();
}

absl::Status Verifier::CheckBranches(const Hash* account,
                                     std::span<const std::pair<NibblePath, BranchValue>> branches) {
  std::vector<TrieSource::BranchRequest> requests;
  for (const auto& [path, branch] : branches) requests.push_back({account, path, nullptr});
  if (absl::Status s = view_.LoadBranches(requests); !s.ok()) return s;
  for (size_t i = 0; i < branches.size(); ++i) {
    ++checked_.nodes;
    const std::string_view table = storage::TableName(NodeTable(account));
    if (requests[i].node == nullptr) {
      Differ(absl::StrFormat("table %s, row %s: missing", table, ShowPath(account, branches[i].first)));
    } else if (!SameBranch(ToValue(*requests[i].node), branches[i].second)) {
      Differ(absl::StrFormat("table %s, row %s: not what the flat tables give", table,
                             ShowPath(account, branches[i].first)));
    }
  }
  return absl::OkStatus();
}

absl::Status Verifier::CheckStorage(const Hash& account, const Hash& expected_root) {
  TrieBuilder builder([&](const NibblePath& path, const BranchValue& branch) {
    storage_branches_.emplace_back(path, branch);
    Expect(&account, path);
  });
  Hash last;
  last.bytes.fill(0xff);
  absl::Status inner;
  const Bytes prefix(account.view());
  absl::Status s = view_.ScanRows(Table::kSlots, prefix + Bytes(Hash{}.view()), prefix + Bytes(last.view()),
                                  [&](BytesView key, BytesView row) {
                                    absl::StatusOr<U256> value = U256::FromMinimal(row);
                                    if (!value.ok() || value->IsZero()) {
                                      Differ(absl::StrCat("table slots, row ", ToHex(key), ": not a value"));
                                      return false;
                                    }
                                    Bytes leaf;
                                    rlp::AppendString(leaf, row);
                                    builder.Add(Hash::FromView(key.substr(32)), leaf, false);
                                    ++checked_.slots;
                                    inner = Step();
                                    if (inner.ok() && storage_branches_.size() >= 1024) {
                                      inner = CheckBranches(&account, storage_branches_);
                                      storage_branches_.clear();
                                    }
                                    return inner.ok();
                                  });
  if (!s.ok()) return s;
  if (!inner.ok()) return inner;
  const Hash root = builder.Finish();
  s = CheckBranches(&account, storage_branches_);
  storage_branches_.clear();
  if (root != expected_root) {
    Differ(absl::StrFormat("table accounts, row %s: storage root %s, its slots give %s", ToHex(account),
                           ToHex(expected_root), ToHex(root)));
  }
  return s;
}

absl::Status Verifier::CheckCode(const Hash& key, const Account& account) {
  if (account.code_hash == kEmptyCodeHash) return absl::OkStatus();
  absl::StatusOr<std::optional<Bytes>> code = view_.RowAt(Table::kCode, account.code_hash.view());
  if (!code.ok()) return code.status();
  if (!code->has_value()) {
    Differ(absl::StrFormat("table code, row %s: missing, account %s runs it", ToHex(account.code_hash), ToHex(key)));
  } else if (Keccak256(**code) != account.code_hash) {
    Differ(absl::StrFormat("table code, row %s: its content has another hash", ToHex(account.code_hash)));
  }
  return absl::OkStatus();
}

// Rows that nothing refers to: slots of no account, branches at positions where the tries have none.
absl::Status Verifier::CheckExtraSlots() {
  uint64_t rows = 0;
  absl::Status inner;
  const Bytes last(64, '\xff');
  absl::Status s = view_.ScanRows(Table::kSlots, "", last, [&](BytesView key, BytesView) {
    ++rows;
    inner = Step();
    if (inner.ok() && rows > checked_.slots) {
      Differ(absl::StrCat("table slots has rows that belong to no account, such as ", ToHex(key)));
    }
    return inner.ok() && difference_.empty();
  });
  return s.ok() ? inner : s;
}

absl::Status Verifier::CheckExtraBranches(Table table) {
  const size_t prefix = table == Table::kAccountNodes ? 0 : 32;
  const std::unique_ptr<storage::Iterator> it = kv_.NewIterator(table);
  for (it->Seek(""); it->Valid() && difference_.empty(); it->Next()) {
    if (absl::Status s = Step(); !s.ok()) return s;
    const BytesView key = it->key();
    if (expected_rows_.contains(RowHash(table, key))) continue;
    // A block that was applied meanwhile may have made it; what counts is the state that is verified.
    TrieSource::BranchRequest request;
    Hash account;
    if (key.size() < prefix || key.size() > prefix + 63) {
      Differ(absl::StrFormat("table %s, row %s: not a path", storage::TableName(table), ToHex(key)));
      break;
    }
    if (prefix != 0) {
      account = Hash::FromView(key);
      request.account = &account;
    }
    request.path.Append(key.substr(prefix));
    if (absl::Status s = view_.LoadBranches({&request, 1}); !s.ok()) return s;
    if (request.node == nullptr) continue;
    Differ(absl::StrFormat("table %s, row %s: the trie has no branch there", storage::TableName(table),
                           ShowPath(request.account, request.path)));
  }
  return it->status();
}

absl::Status Verifier::Run(VerifyReport& report) {
  report.block = view_.block();
  TrieBuilder builder([&](const NibblePath& path, const BranchValue& branch) {
    account_branches_.emplace_back(path, branch);
    Expect(nullptr, path);
  });
  Hash last;
  last.bytes.fill(0xff);
  absl::Status inner;
  absl::Status s =
      view_.ScanRows(Table::kAccounts, Hash{}.view(), last.view(), [&](BytesView key_bytes, BytesView row) {
        const Hash key = Hash::FromView(key_bytes);
        absl::StatusOr<Account> account = DecodeSlimAccount(row);
        if (!account.ok()) {
          Differ(absl::StrCat("table accounts, row ", ToHex(key), ": not an account"));
          return false;
        }
        ++checked_.accounts;
        if (account->storage_root != kEmptyRoot) inner = CheckStorage(key, account->storage_root);
        if (inner.ok()) inner = CheckCode(key, *account);
        if (inner.ok()) inner = Step();
        if (!inner.ok() || !difference_.empty()) return false;
        Bytes leaf;
        AppendAccountRlp(leaf, *account);
        builder.Add(key, leaf, account->storage_root != kEmptyRoot);
        if (account_branches_.size() >= 1024) {
          inner = CheckBranches(nullptr, account_branches_);
          account_branches_.clear();
        }
        return inner.ok() && difference_.empty();
      });
  if (!s.ok()) return s;
  if (!inner.ok()) return inner;
  if (difference_.empty()) {
    const Hash root = builder.Finish();
    s = CheckBranches(nullptr, account_branches_);
    if (s.ok() && root != view_.block().state_root) {
      Differ(absl::StrFormat("the accounts give root %s, block %d has %s", ToHex(root), view_.block().number,
                             ToHex(view_.block().state_root)));
    }
    if (s.ok() && difference_.empty()) s = CheckExtraSlots();
    for (Table table : {Table::kAccountNodes, Table::kSlotNodes}) {
      if (s.ok() && difference_.empty()) s = CheckExtraBranches(table);
    }
  }
  report.checked = checked_;
  report.difference = difference_;
  return s;
}

}  // namespace

absl::StatusOr<VerifyReport> EngineImpl::Verify(const std::function<bool(const VerifyProgress&)>& progress) {
  VerifyReport report;
  // Rows of branches are read from the tables, so the view must have been flushed; what is applied later is taken back.
  const ViewPtr head = Head();
  if (absl::StatusOr<BlockInfo> flushed = Flush(); !flushed.ok()) return flushed.status();
  if (absl::Status s = Verifier(*head, *store_->kv, progress).Run(report); !s.ok()) return DamageFound(s);
  if (!report.difference.empty()) BecomeReadOnly(report.difference, EngineEvent::Kind::kCorruption);
  return report;
}

}  // namespace mptd
