// StateView over the shared pieces of the engine. Internal to core/engine.
//
// A view is a sequence: a row's value is what the version index says for that sequence, else what the table has. A
// branch is the node in memory, when the view has the trie of its own block; otherwise the newest branch known, taken
// back by undo entries, and kept for the next view of that block. A view below the window in memory first asks the
// history index on disk.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/engine/history_reader.h"
#include "core/engine/state_store.h"
#include "core/engine/state_view.h"
#include "core/engine/worker_pool.h"
#include "core/trie/branch_record.h"

namespace mptd {

class ViewImpl final : public StateView, public TrieSource {
 public:
  struct Parts {
    uint64_t sequence = 0;
    BlockInfo block;
    std::shared_ptr<const TrieSnapshot> trie;
    // Set unless `trie` is that of the view's own block: what has been rebuilt of that one.
    std::shared_ptr<OldTrie> old_trie;
    // Set for blocks before the window's first: their history is on disk up to and including the window's first block.
    std::unique_ptr<HistoryReader> history;
  };

  // `parts.sequence` has been put among store->live_views by the caller.
  ViewImpl(std::shared_ptr<StateStore> store, Parts parts);
  ~ViewImpl() override;

  // StateView
  const BlockInfo& block() const override { return parts_.block; }
  absl::StatusOr<std::optional<Account>> GetAccount(const Address& address) const override;
  absl::StatusOr<std::vector<std::optional<Account>>> GetAccounts(std::span<const Address> addresses) const override;
  absl::StatusOr<std::vector<U256>> GetStorage(const Address& address, std::span<const Hash> slots) const override;
  absl::StatusOr<std::optional<Bytes>> GetCode(const Hash& code_hash) const override;
  absl::StatusOr<AccountProof> GetProof(const Address& address, std::span<const Hash> slots) const override;
  absl::StatusOr<MultiProof> GetMultiProof(std::span<const ProofTargetSpec> targets) const override;
  absl::StatusOr<Page<HashedAccount>> ScanAccounts(const Hash& start, size_t limit) const override;
  absl::StatusOr<Page<HashedSlot>> ScanStorage(const Address& address, const Hash& start, size_t limit) const override;
  absl::StatusOr<Hash> ComputeRoot(std::span<const AccountChange> changes, bool keep_empty_accounts) const override;

  // TrieSource
  absl::Status LoadBranches(std::span<BranchRequest> requests) const override;
  absl::StatusOr<LeafRow> LeafBelow(const Hash* account, const NibblePath& path, const Hash* key) const override;
  bool KeepsLoaded() const override;
  void CountLinked(size_t bytes) const override;
  uint64_t FlushedSequence() const override { return store_->flushed_sequence.load(std::memory_order_acquire); }
  void CountLookups(uint64_t in_memory, uint64_t loaded) const override {
    store_->lookups.Count(CacheKind::kNodes, in_memory, loaded);
  }

  // Rows by hashed keys. nullopt: no such row.
  absl::StatusOr<std::optional<Bytes>> RowAt(storage::Table table, BytesView key) const;
  // rows[i] is the row at keys[i]; keys ascending. The writer asks for `entries`: entries[i] is the row's place in the
  // index of rows or null, and stays there until the writer's next housekeeping. What others have to read from the
  // tables is offered to the index. Threads of `pool`, where given, share in reading the tables.
  absl::Status RowsAt(storage::Table table, std::span<const BytesView> keys, std::span<std::optional<Bytes>> rows,
                      std::vector<const storage::VersionIndex::Entry*>* entries = nullptr,
                      WorkerPool* pool = nullptr) const;

  // Calls `each` for rows of this state with first <= key <= last in order, until it returns false.
  using EachRow = std::function<bool(BytesView key, BytesView value)>;
  absl::Status ScanRows(storage::Table table, BytesView first, BytesView last, const EachRow& each) const;

  uint64_t sequence() const { return parts_.sequence; }
  // The root of the account trie.
  absl::StatusOr<TrieRoot> AccountRoot() const;

 private:
  // The answers, as the functions above give them.
  absl::StatusOr<std::optional<Account>> FindAccount(const Address& address) const;
  absl::StatusOr<std::vector<std::optional<Account>>> FindAccounts(std::span<const Address> addresses) const;
  absl::StatusOr<std::vector<U256>> FindSlots(const Address& address, std::span<const Hash> slots) const;
  absl::StatusOr<std::optional<Bytes>> FindCode(const Hash& code_hash) const;
  absl::StatusOr<AccountProof> ProveAccount(const Address& address, std::span<const Hash> slots) const;
  absl::StatusOr<MultiProof> ProveAll(std::span<const ProofTargetSpec> targets) const;
  absl::StatusOr<Page<HashedAccount>> PageOfAccounts(const Hash& start, size_t limit) const;
  absl::StatusOr<Page<HashedSlot>> PageOfSlots(const Address& address, const Hash& start, size_t limit) const;
  absl::StatusOr<Hash> RootWith(std::span<const AccountChange> changes, bool keep_empty_accounts) const;

  // What the index says of a row at this view; nullopt when that is what the table has.
  std::optional<std::optional<Bytes>> IndexedRow(storage::Table table, BytesView key) const;
  static std::optional<std::optional<Bytes>> RowOf(const storage::VersionIndex::Entry* entry, uint64_t sequence);
  // The row after a transition that is this view's or newer: from the index or from its table.
  absl::StatusOr<std::optional<Bytes>> RowAfter(uint64_t sequence, storage::Table table, BytesView key) const;
  std::shared_ptr<const TransitionList> Transitions() const;
  absl::Status AddUndo(const BranchRequest& request, BytesView row_key, BranchRebuilder& rebuilder) const;
  absl::Status RebuildBranch(BranchRequest& request, BytesView row_key, OwnedBranch now) const;
  absl::StatusOr<bool> LoadFromMemory(BranchRequest& request, BytesView row_key) const;
  absl::Status LoadFromRow(BranchRequest& request, BytesView row_key, const storage::Value& row) const;
  absl::Status ReadTable(storage::Table table, std::span<const std::string_view> keys, std::span<storage::Value> values,
                         WorkerPool* pool) const;
  void Offer(storage::Table table, BytesView key, const std::optional<Bytes>& row, uint64_t flushed) const;
  absl::Status FindRow(storage::Table table, BytesView first, BytesView last, const EachRow& each) const;
  void CountRows(storage::Table table, uint64_t hits, uint64_t misses) const;
  bool HasOwnTrie() const { return parts_.old_trie == nullptr; }
  LeafRow MakeLeafRow(const Hash* account, const Hash& key, BytesView row) const;

  const std::shared_ptr<StateStore> store_;
  const Parts parts_;
  const storage::EpochPin row_pin_;
  const storage::EpochPin node_pin_;
};

// The key of a branch's row.
void AppendNodeKey(Bytes& out, const Hash* account, const NibblePath& path);
inline storage::Table NodeTable(const Hash* account) {
  return account == nullptr ? storage::Table::kAccountNodes : storage::Table::kSlotNodes;
}
// The RLP value of a leaf from its flat row.
absl::StatusOr<Bytes> LeafValueOf(const Hash* account, BytesView row);

}  // namespace mptd
