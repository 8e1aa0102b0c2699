#include "core/engine/node_history.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <new>

#include "storage/sized_delete.h"

namespace mptd {
namespace {

constexpr size_t kFirstSlots = 1024;
constexpr uint64_t kFree = 1;
constexpr uint64_t kPointerBits = (uint64_t{1} << 48) - 2;
// How far ahead slots are fetched while a page goes.
constexpr size_t kAhead = 8;

uint32_t HashOf(storage::Table table, BytesView key) {
  return static_cast<uint32_t>(XXH3_64bits_withSeed(key.data(), key.size(), static_cast<uint64_t>(table)));
}

uint64_t TagOf(uint32_t hash) { return uint64_t{hash >> 16} << 48; }

}  // namespace

void NodeUndoPage::Begin(storage::Table table) {
  items_.push_back({this, static_cast<uint32_t>(bytes_.size()), 0, 0, 0, table});
}

void NodeUndoPage::EndKey() {
  Item& item = items_.back();
  item.key_size = static_cast<uint8_t>(bytes_.size() - item.begin);
  item.hash = HashOf(item.table, KeyOf(item));
}

void NodeUndoPage::End() {
  Item& item = items_.back();
  item.undo_size = static_cast<uint16_t>(bytes_.size() - item.begin - item.key_size);
}

void NodeUndoPage::Reserve(size_t entries, size_t bytes) {
  items_.reserve(entries);
  bytes_.reserve(bytes);
}

void NodeUndoPage::Shrink() {
  // Otherwise giving it back, which copies what stays, costs more than it brings.
  const auto is_much = [](size_t capacity, size_t size) { return capacity - size > size / 8; };
  if (is_much(items_.capacity(), items_.size())) items_.shrink_to_fit();
  if (is_much(bytes_.capacity(), bytes_.size())) bytes_.shrink_to_fit();
}

NodeHistory::NodeHistory(storage::EpochDomain& epochs, size_t expected_to_ask)
    : epochs_(epochs),
      expected_to_ask_(expected_to_ask),
      table_(new SlotTable(kFirstSlots)),
      loose_(std::make_shared<Pages>()),
      unasked_(expected_to_ask) {
  bytes_ = table_.load()->memory();
}

NodeHistory::~NodeHistory() {
  const std::unique_ptr<SlotTable> table(table_.load());
  for (size_t i = 0; i <= table->mask; ++i) {
    const Slot slot = table->slots[i].load(std::memory_order_relaxed);
    if (slot > kFree && IsList(slot)) ::operator delete(ListOf(slot));
  }
}

NodeHistory::Slot NodeHistory::SlotOf(uint32_t hash, const void* pointer, bool list) {
  return TagOf(hash) | reinterpret_cast<uintptr_t>(pointer) | (list ? 1u : 0u);
}

const NodeHistory::Item* NodeHistory::ItemOf(Slot slot) { return reinterpret_cast<const Item*>(slot & kPointerBits); }

NodeHistory::List* NodeHistory::ListOf(Slot slot) { return reinterpret_cast<List*>(slot & kPointerBits); }

const NodeHistory::Item& NodeHistory::Sample(Slot slot) {
  if (!IsList(slot)) return *ItemOf(slot);
  const List& list = *ListOf(slot);
  return *list.items()[list.end.load(std::memory_order_acquire) - 1];
}

NodeHistory::List* NodeHistory::MakeList(uint32_t capacity) {
  return new (::operator new(sizeof(List) + capacity * sizeof(const Item*))) List{capacity, 0, 0};
}

NodeHistory::Found NodeHistory::Find(SlotTable& table, storage::Table row_table, BytesView key, uint32_t hash) {
  for (size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
    const Slot slot = table.slots[i].load(std::memory_order_acquire);
    if (slot == 0) return {};
    if (slot == kFree || (slot ^ TagOf(hash)) >> 48 != 0) continue;
    const Item& item = Sample(slot);
    if (item.hash == hash && item.table == row_table && item.page->KeyOf(item) == key) return {&table.slots[i], slot};
  }
}

std::shared_ptr<const NodeHistory::Pages> NodeHistory::loose() const {
  absl::MutexLock lock(&mutex_);
  return loose_;
}

void NodeHistory::SetLoose(Pages pages) {
  any_loose_.store(!pages.empty(), std::memory_order_release);
  auto shared = std::make_shared<const Pages>(std::move(pages));
  absl::MutexLock lock(&mutex_);
  loose_.swap(shared);
}

void NodeUndoPage::AppendEntries(storage::Table table, BytesView key, std::vector<BytesView>& out) const {
  const auto first = std::partition_point(items_.begin(), items_.end(), [&](const Item& item) {
    return item.table != table ? item.table < table : KeyOf(item) < key;
  });
  for (auto it = first; it != items_.end() && it->table == table && KeyOf(*it) == key; ++it) out.push_back(UndoOf(*it));
}

void NodeHistory::EntriesAfter(storage::Table table, BytesView key, uint64_t sequence,
                               std::vector<BytesView>& out) const {
  if (sequence >= newest_.load(std::memory_order_acquire)) return;
  asked_.store(true, std::memory_order_relaxed);
  if (!any_loose_.load(std::memory_order_acquire)) return IndexedEntries(table, key, sequence, UINT64_MAX, out);
  // Before the table: pages of this list that enter it meanwhile are left out there.
  const std::shared_ptr<const Pages> pages = loose();
  IndexedEntries(table, key, sequence, pages->empty() ? UINT64_MAX : pages->front()->sequence_, out);
  for (const auto& page : *pages) {
    if (page->sequence_ > sequence) page->AppendEntries(table, key, out);
  }
}

void NodeHistory::IndexedEntries(storage::Table table, BytesView key, uint64_t sequence, uint64_t end,
                                 std::vector<BytesView>& out) const {
  // Only what was compared is used: the slot may be another row's by now.
  const Slot slot = Find(*table_.load(std::memory_order_acquire), table, key, HashOf(table, key)).slot;
  if (slot == 0) return;
  if (!IsList(slot)) {
    const Item& item = *ItemOf(slot);
    if (item.page->sequence_ > sequence && item.page->sequence_ < end) out.push_back(item.page->UndoOf(item));
    return;
  }
  const List& list = *ListOf(slot);
  const uint32_t last = list.end.load(std::memory_order_acquire);
  const uint32_t begin = list.begin.load(std::memory_order_acquire);
  const auto* first = std::upper_bound(list.items() + begin, list.items() + last, sequence,
                                       [](uint64_t s, const Item* item) { return s < item->page->sequence_; });
  for (; first < list.items() + last && (*first)->page->sequence_ < end; ++first) {
    out.push_back((*first)->page->UndoOf(**first));
  }
}

// Slots are fetched some items ahead, and a little later what they lead to.
[[gnu::always_inline]] inline void NodeHistory::PrefetchSlots(const SlotTable& table, const std::vector<Item>& items,
                                                              size_t i) {
  if (i + 2 * kAhead < items.size()) __builtin_prefetch(&table.slots[items[i + 2 * kAhead].hash & table.mask]);
  if (i + kAhead < items.size()) {
    const Slot slot = table.slots[items[i + kAhead].hash & table.mask].load(std::memory_order_relaxed);
    if (slot > kFree) __builtin_prefetch(ItemOf(slot));
  }
}

void NodeHistory::Add(std::shared_ptr<const NodeUndoPage> page) {
  const uint64_t sequence = page->sequence_;
  bytes_.fetch_add(page->memory(), std::memory_order_relaxed);
  CatchUp();
  if (unasked_ < expected_to_ask_) {
    ++unasked_;
    EnterPage(*page);
  } else {
    Pages pages(*loose());
    pages.push_back(page);
    SetLoose(std::move(pages));
  }
  pages_.push_back(std::move(page));
  newest_.store(sequence, std::memory_order_release);
}

void NodeHistory::CatchUp() {
  if (!asked_.exchange(false, std::memory_order_relaxed)) return;
  unasked_ = 0;
  const std::shared_ptr<const Pages> pages = loose();
  if (pages->empty()) return;
  for (const auto& page : *pages) EnterPage(*page);
  SetLoose({});
}

void NodeHistory::EnterPage(const NodeUndoPage& page) {
  if ((used_ + page.size()) * 4 > (table_.load(std::memory_order_relaxed)->mask + 1) * 3) Rehash(page.size());
  const SlotTable& table = *table_.load(std::memory_order_relaxed);
  const std::vector<Item>& items = page.items_;
  for (size_t i = 0; i < items.size(); ++i) {
    PrefetchSlots(table, items, i);
    AddItem(items[i]);
  }
}

void NodeHistory::AddItem(const Item& item) {
  SlotTable& table = *table_.load(std::memory_order_relaxed);
  if (const Found found = Find(table, item.table, item.page->KeyOf(item), item.hash); found.place != nullptr) {
    Append(*found.place, item);
    return;
  }
  size_t i = item.hash & table.mask;
  while (table.slots[i].load(std::memory_order_relaxed) > kFree) i = (i + 1) & table.mask;
  if (table.slots[i].load(std::memory_order_relaxed) == kFree) {
    --freed_;
  } else {
    ++used_;
  }
  table.slots[i].store(SlotOf(item.hash, &item, false), std::memory_order_release);
}

void NodeHistory::Append(std::atomic<Slot>& place, const Item& item) {
  const Slot slot = place.load(std::memory_order_relaxed);
  List* old = IsList(slot) ? ListOf(slot) : nullptr;
  const uint32_t end = old == nullptr ? 0 : old->end.load(std::memory_order_relaxed);
  if (old != nullptr && end < old->capacity) {
    old->items()[end] = &item;
    old->end.store(end + 1, std::memory_order_release);
    return;
  }
  const uint32_t begin = old == nullptr ? 0 : old->begin.load(std::memory_order_relaxed);
  const uint32_t live = old == nullptr ? 1 : end - begin;
  List* list = MakeList(live < 4 ? 4 : live * 2);
  if (old == nullptr) {
    list->items()[0] = ItemOf(slot);
  } else {
    std::copy(old->items() + begin, old->items() + end, list->items());
  }
  list->items()[live] = &item;
  list->end.store(live + 1, std::memory_order_relaxed);
  bytes_.fetch_add(list->memory(), std::memory_order_relaxed);
  place.store(SlotOf(item.hash, list, true), std::memory_order_release);
  if (old != nullptr) RetireList(old);
}

void NodeHistory::RetireList(List* list) {
  bytes_.fetch_sub(list->memory(), std::memory_order_relaxed);
  epochs_.Retire(list, storage::SizedDelete, list->memory());
}

void NodeHistory::DropItem(const Item& item) {
  SlotTable& table = *table_.load(std::memory_order_relaxed);
  for (size_t i = item.hash & table.mask;; i = (i + 1) & table.mask) {
    std::atomic<Slot>& place = table.slots[i];
    const Slot slot = place.load(std::memory_order_relaxed);
    if (slot == 0) return;
    if (slot == kFree || (slot ^ TagOf(item.hash)) >> 48 != 0) continue;
    if (!IsList(slot)) {
      if (ItemOf(slot) != &item) continue;
    } else {
      List& list = *ListOf(slot);
      const uint32_t begin = list.begin.load(std::memory_order_relaxed);
      if (list.items()[begin] != &item) continue;
      list.begin.store(begin + 1, std::memory_order_release);
      if (begin + 1 != list.end.load(std::memory_order_relaxed)) return;
    }
    place.store(kFree, std::memory_order_release);
    ++freed_;
    if (IsList(slot)) RetireList(ListOf(slot));
    return;
  }
}

void NodeHistory::TrimThrough(uint64_t sequence) {
  Pages loose_pages;
  size_t loose_gone = 0;
  if (any_loose_.load(std::memory_order_relaxed)) loose_pages = *loose();
  while (!pages_.empty() && pages_.front()->sequence_ <= sequence) {
    std::shared_ptr<const NodeUndoPage> page = std::move(pages_.front());
    pages_.pop_front();
    if (loose_gone < loose_pages.size() && loose_pages[loose_gone] == page) {
      ++loose_gone;
    } else {
      DropPage(*page);
    }
    const size_t bytes = page->memory();
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    // Readers may be looking at its entries.
    auto* kept = new std::shared_ptr<const NodeUndoPage>(std::move(page));
    epochs_.Retire(
        kept, [](void* pointer, size_t) { delete static_cast<std::shared_ptr<const NodeUndoPage>*>(pointer); }, bytes);
  }
  if (loose_gone == 0) return;
  loose_pages.erase(loose_pages.begin(), loose_pages.begin() + static_cast<ptrdiff_t>(loose_gone));
  SetLoose(std::move(loose_pages));
}

void NodeHistory::DropPage(const NodeUndoPage& page) {
  const SlotTable& table = *table_.load(std::memory_order_relaxed);
  const std::vector<Item>& items = page.items_;
  for (size_t i = 0; i < items.size(); ++i) {
    PrefetchSlots(table, items, i);
    DropItem(items[i]);
  }
}

void NodeHistory::Rehash(size_t incoming) {
  SlotTable* old = table_.load(std::memory_order_relaxed);
  const size_t live = used_ - freed_;
  auto* fresh = new SlotTable(std::bit_ceil(std::max(kFirstSlots, 2 * (live + incoming))));
  for (size_t i = 0; i <= old->mask; ++i) {
    const Slot slot = old->slots[i].load(std::memory_order_relaxed);
    if (slot <= kFree) continue;
    size_t to = Sample(slot).hash & fresh->mask;
    while (fresh->slots[to].load(std::memory_order_relaxed) != 0) to = (to + 1) & fresh->mask;
    fresh->slots[to].store(slot, std::memory_order_relaxed);
  }
  used_ = live;
  freed_ = 0;
  bytes_.fetch_add(fresh->memory() - old->memory(), std::memory_order_relaxed);
  table_.store(fresh, std::memory_order_release);
  epochs_.Retire(
      old, [](void* pointer, size_t) { delete static_cast<SlotTable*>(pointer); }, old->memory());
}

}  // namespace mptd
