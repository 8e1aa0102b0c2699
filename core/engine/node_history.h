// What recent transitions replaced in the rows of branches, in memory: the undo entries of the served window, found by
// row key. Internal to core/engine.
//
// A page holds all entries of one transition in one piece of memory, in the order of their keys. A table of tagged
// pointers leads from a key to its entry, or, when several transitions replaced the row, to a list of them. Trimming
// drops whole pages.
//
// Filling that table and clearing it again took a seventh of what a block costs, and most daemons are never asked for
// an old state. So pages enter it only while somebody asks; those that came when nobody did are searched one by one
// until they have been entered, too.
//
// One thread, the owner, adds and trims; any number of readers look entries up without locks at the same time, each
// holding an EpochPin for as long as it uses what it found.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/types.h"
#include "storage/kv_store.h"
#include "storage/version_index.h"

namespace mptd {

// One transition's undo entries of branches (core/trie/branch_record.h). Filled by one thread, then given to the
// history, which does not change it any more.
class NodeUndoPage {
 public:
  explicit NodeUndoPage(uint64_t sequence) : sequence_(sequence) {}

  // There will be so many entries, of so many bytes with their keys at most.
  void Reserve(size_t entries, size_t bytes);
  // An entry is added in pieces: Begin, the row key appended to bytes(), EndKey, the undo entry appended to bytes(),
  // End.
  Bytes& bytes() { return bytes_; }
  void Begin(storage::Table table);
  void EndKey();
  void End();
  // Gives back memory that was taken in advance, if it is much; after the last End.
  void Shrink();

  uint64_t sequence() const { return sequence_; }
  size_t size() const { return items_.size(); }
  storage::Table table(size_t i) const { return items_[i].table; }
  BytesView key(size_t i) const { return KeyOf(items_[i]); }
  BytesView undo(size_t i) const { return UndoOf(items_[i]); }
  // The entries of one row, found by its key.
  void AppendEntries(storage::Table table, BytesView key, std::vector<BytesView>& out) const;

 private:
  friend class NodeHistory;
  struct Item {
    const NodeUndoPage* page;
    uint32_t begin;
    uint32_t hash;
    uint16_t undo_size;
    uint8_t key_size;  // 32 bytes of an account and 64 nibbles at most
    storage::Table table;
  };

  BytesView KeyOf(const Item& item) const { return BytesView(bytes_).substr(item.begin, item.key_size); }
  BytesView UndoOf(const Item& item) const {
    return BytesView(bytes_).substr(item.begin + item.key_size, item.undo_size);
  }
  size_t memory() const { return sizeof(*this) + bytes_.capacity() + items_.capacity() * sizeof(Item); }

  const uint64_t sequence_;
  Bytes bytes_;
  std::vector<Item> items_;
};

class NodeHistory {
 public:
  // Somebody who has asked is expected to ask again within so many transitions.
  static constexpr size_t kExpectedToAsk = 256;

  explicit NodeHistory(storage::EpochDomain& epochs, size_t expected_to_ask = kExpectedToAsk);
  ~NodeHistory();
  NodeHistory(const NodeHistory&) = delete;
  NodeHistory& operator=(const NodeHistory&) = delete;

  // Readers, holding a pin: appends the entries of transitions after `sequence` for this row, oldest first.
  void EntriesAfter(storage::Table table, BytesView key, uint64_t sequence, std::vector<BytesView>& out) const;

  // The owner. Pages come in the order of their sequences, the entries of each in the order of tables and keys.
  void Add(std::shared_ptr<const NodeUndoPage> page);
  // Enters what has come while nobody asked, if somebody has asked since.
  void CatchUp();
  // As if somebody had asked.
  void ExpectQuestions() { asked_.store(true, std::memory_order_relaxed); }
  // Nobody asks any more for entries of transitions up to this one.
  void TrimThrough(uint64_t sequence);

  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  using Item = NodeUndoPage::Item;
  using Pages = std::vector<std::shared_ptr<const NodeUndoPage>>;

  // The entries of one row, oldest first; a growing array. Those before `begin` have been trimmed.
  struct alignas(8) List {
    uint32_t capacity;
    std::atomic<uint32_t> begin;
    std::atomic<uint32_t> end;
    const Item** items() { return reinterpret_cast<const Item**>(this + 1); }
    const Item* const* items() const { return reinterpret_cast<const Item* const*>(this + 1); }
    size_t memory() const { return sizeof(List) + capacity * sizeof(const Item*); }
  };

  // 0: never used. 1: free again. Else 16 bits of the key's hash above a pointer, whose lowest bit says that it leads
  // to a List instead of an Item.
  using Slot = uint64_t;
  struct SlotTable {
    explicit SlotTable(size_t size) : mask(size - 1), slots(std::make_unique<std::atomic<Slot>[]>(size)) {}
    size_t memory() const { return (mask + 1) * sizeof(Slot); }
    const size_t mask;
    const std::unique_ptr<std::atomic<Slot>[]> slots;
  };

  static Slot SlotOf(uint32_t hash, const void* pointer, bool list);
  static bool IsList(Slot slot) { return (slot & 1) != 0; }
  static const Item* ItemOf(Slot slot);
  static List* ListOf(Slot slot);
  // Any entry of the row that the slot stands for.
  static const Item& Sample(Slot slot);
  static List* MakeList(uint32_t capacity);
  // Where the row's slot is, and what was there when it was compared; null and 0 when the row has none.
  struct Found {
    std::atomic<Slot>* place = nullptr;
    Slot slot = 0;
  };
  static Found Find(SlotTable& table, storage::Table row_table, BytesView key, uint32_t hash);

  // What the table has of the row, after `sequence` and before `end`.
  void IndexedEntries(storage::Table table, BytesView key, uint64_t sequence, uint64_t end,
                      std::vector<BytesView>& out) const;
  void EnterPage(const NodeUndoPage& page);
  void DropPage(const NodeUndoPage& page);
  std::shared_ptr<const Pages> loose() const ABSL_LOCKS_EXCLUDED(mutex_);
  void SetLoose(Pages pages) ABSL_LOCKS_EXCLUDED(mutex_);
  static void PrefetchSlots(const SlotTable& table, const std::vector<Item>& items, size_t i);
  void AddItem(const Item& item);
  void Append(std::atomic<Slot>& slot, const Item& item);
  void DropItem(const Item& item);
  void RetireList(List* list);
  // A new table with room for so many more rows, without the slots that are free again.
  void Rehash(size_t incoming);

  storage::EpochDomain& epochs_;
  const size_t expected_to_ask_;
  std::atomic<SlotTable*> table_;
  std::atomic<size_t> bytes_{0};
  std::atomic<uint64_t> newest_{0};         // the sequence of the newest page
  mutable std::atomic<bool> asked_{false};  // by a reader, since the owner last looked
  std::atomic<bool> any_loose_{false};
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Pages> loose_ ABSL_GUARDED_BY(mutex_);  // not in the table: the newest ones, in order

  // The owner's.
  std::deque<std::shared_ptr<const NodeUndoPage>> pages_;
  size_t unasked_;    // pages that have come since somebody asked
  size_t used_ = 0;   // slots that are not 0
  size_t freed_ = 0;  // of them 1
};

}  // namespace mptd
