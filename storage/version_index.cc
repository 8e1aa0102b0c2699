#include "storage/version_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "storage/sized_delete.h"

namespace mptd::storage {
namespace {

constexpr RowBlob kAbsentBlob{RowBlob::kAbsent};

uint64_t HashKey(uint8_t table, std::string_view key) { return XXH3_64bits_withSeed(key.data(), key.size(), table); }

void FreeBlob(void* blob, size_t bytes) { RowBlob::FreeSized(static_cast<const RowBlob*>(blob), bytes); }

}  // namespace

EpochDomain::~EpochDomain() {
  for (const Retired& r : retired_) r.deleter(r.object, r.bytes);
}

uint64_t EpochDomain::Pin() {
  absl::MutexLock lock(&mutex_);
  pins_.insert(epoch_);
  return epoch_;
}

void EpochDomain::Unpin(uint64_t epoch) {
  absl::MutexLock lock(&mutex_);
  pins_.erase(pins_.find(epoch));
}

void EpochDomain::Retire(void* object, Deleter deleter, size_t bytes) {
  retired_.push_back({0, object, deleter, bytes});
  retired_bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

void EpochDomain::Collect() {
  if (retired_.empty()) return;
  uint64_t oldest_pin;
  uint64_t sealing_epoch;
  {
    absl::MutexLock lock(&mutex_);
    // Everything retired so far was unlinked before this point: pins taken from now on cannot see it.
    sealing_epoch = ++epoch_;
    oldest_pin = pins_.empty() ? epoch_ : *pins_.begin();
  }
  for (; sealed_ < retired_.size(); ++sealed_) retired_[sealed_].epoch = sealing_epoch;
  while (!retired_.empty() && retired_.front().epoch <= oldest_pin) {
    const Retired r = retired_.front();
    retired_.pop_front();
    --sealed_;
    retired_bytes_.fetch_sub(r.bytes, std::memory_order_relaxed);
    r.deleter(r.object, r.bytes);
  }
}

const RowBlob* RowBlob::Make(std::optional<std::string_view> value) {
  if (!value.has_value()) return &kAbsentBlob;
  void* memory = ::operator new(InMemory(sizeof(RowBlob) + value->size()));
  auto* blob = new (memory) RowBlob{static_cast<uint32_t>(value->size())};
  std::memcpy(blob + 1, value->data(), value->size());
  return blob;
}

void RowBlob::FreeSized(const RowBlob* blob, size_t bytes) {
  if (blob == nullptr || blob == &kAbsentBlob) return;
  SizedDelete(const_cast<RowBlob*>(blob), bytes);
}

VersionIndex::VersionIndex(EpochDomain& epochs, size_t expected_rows) : epochs_(epochs) {
  const size_t buckets = std::bit_ceil(std::max<size_t>(expected_rows, 1024));
  buckets_ = std::make_unique<std::atomic<Entry*>[]>(buckets);
  bucket_mask_ = buckets - 1;
  bytes_ = buckets * sizeof(std::atomic<Entry*>);
}

VersionIndex::~VersionIndex() {
  for (size_t i = 0; i <= bucket_mask_; ++i) {
    Entry* entry = buckets_[i].load(std::memory_order_relaxed);
    while (entry != nullptr) {
      Entry* next = entry->next_.load(std::memory_order_relaxed);
      if (Entry::Versions* versions = entry->versions_.load(std::memory_order_relaxed)) {
        for (uint32_t v = versions->begin; v < versions->end; ++v) RowBlob::Free(versions->slots()[v].old);
        ::operator delete(versions);
      }
      RowBlob::Free(entry->latest_.load(std::memory_order_relaxed));
      ::operator delete(entry);
      entry = next;
    }
  }
}

const VersionIndex::Entry* VersionIndex::Find(uint8_t table, std::string_view key) const {
  const uint64_t hash = HashKey(table, key);
  for (Entry* e = Bucket(hash).load(std::memory_order_acquire); e != nullptr;
       e = e->next_.load(std::memory_order_acquire)) {
    if (Is(*e, hash, table, key)) {
      if (e->used_.load(std::memory_order_relaxed) == 0) e->used_.store(1, std::memory_order_relaxed);
      return e;
    }
  }
  return nullptr;
}

void VersionIndex::FindMany(uint8_t table, std::span<const std::string_view> keys,
                            std::span<const Entry*> found) const {
  // Each step asks for what the next one reads, and the steps of a group go side by side.
  constexpr size_t kGroup = 16;
  uint64_t hashes[kGroup];
  const Entry* entries[kGroup];
  for (size_t begin = 0; begin < keys.size(); begin += kGroup) {
    const size_t count = std::min(kGroup, keys.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = HashKey(table, keys[begin + i]);
      __builtin_prefetch(&Bucket(hashes[i]));
    }
    for (size_t i = 0; i < count; ++i) {
      entries[i] = Bucket(hashes[i]).load(std::memory_order_acquire);
      __builtin_prefetch(entries[i]);
      // As a number: there may be no entry, and nothing may be added to a null pointer.
      __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(entries[i]) + 64));
    }
    for (size_t i = 0; i < count; ++i) {
      const Entry* e = entries[i];
      while (e != nullptr && !Is(*e, hashes[i], table, keys[begin + i])) {
        e = e->next_.load(std::memory_order_acquire);
      }
      found[begin + i] = e;
      if (e == nullptr) continue;
      auto& used = const_cast<Entry*>(e)->used_;
      if (used.load(std::memory_order_relaxed) == 0) used.store(1, std::memory_order_relaxed);
      __builtin_prefetch(e->latest_.load(std::memory_order_relaxed));
      __builtin_prefetch(e->versions_.load(std::memory_order_relaxed));
    }
  }
}

const RowBlob* VersionIndex::ValueAt(const Entry& entry, uint64_t sequence) {
  // The order matters: a transition first records what it replaces and then changes `latest`. If this load sees a value
  // that is too new for the reader, the search below sees the version that it replaced.
  const RowBlob* latest = entry.latest_.load(std::memory_order_acquire);
  const Entry::Versions* versions = entry.versions_.load(std::memory_order_acquire);
  if (versions == nullptr) return latest;
  const uint32_t end = versions->end.load(std::memory_order_acquire);
  const uint32_t begin = versions->begin.load(std::memory_order_acquire);
  if (begin >= end || versions->slots()[end - 1].sequence <= sequence) return latest;
  const RowVersion* first = std::upper_bound(versions->slots() + begin, versions->slots() + end, sequence,
                                             [](uint64_t s, const RowVersion& v) { return s < v.sequence; });
  return first->old;
}

VersionIndex::Entry* VersionIndex::FindOrMake(uint8_t table, std::string_view key, bool& made) {
  made = false;
  const uint64_t hash = HashKey(table, key);
  std::atomic<Entry*>& bucket = Bucket(hash);
  for (Entry* e = bucket.load(std::memory_order_relaxed); e != nullptr; e = e->next_.load(std::memory_order_relaxed)) {
    if (Is(*e, hash, table, key)) {
      e->used_.store(1, std::memory_order_relaxed);
      return e;
    }
  }
  made = true;
  auto* entry = new (::operator new(InMemory(sizeof(Entry) + key.size()))) Entry;
  std::memcpy(static_cast<void*>(entry + 1), key.data(), key.size());
  entry->hash_ = static_cast<uint32_t>(hash >> 32);
  entry->key_size_ = static_cast<uint8_t>(key.size());
  entry->table_ = table;
  entry->used_.store(1, std::memory_order_relaxed);
  AddBytes(BytesOf(*entry));
  rows_.fetch_add(1, std::memory_order_relaxed);
  return entry;
}

void VersionIndex::PushVersion(Entry* entry, RowVersion version) {
  Entry::Versions* versions = entry->versions_.load(std::memory_order_relaxed);
  const uint32_t begin = versions == nullptr ? 0 : versions->begin.load(std::memory_order_relaxed);
  const uint32_t end = versions == nullptr ? 0 : versions->end.load(std::memory_order_relaxed);
  if (versions != nullptr && end < versions->capacity) {
    versions->slots()[end] = version;
    versions->end.store(end + 1, std::memory_order_release);
    return;
  }
  const uint32_t live = end - begin;
  const uint32_t capacity = live == 0 ? 1 : live * 2;
  const size_t bytes = sizeof(Entry::Versions) + capacity * sizeof(RowVersion);
  auto* grown = new (::operator new(bytes)) Entry::Versions{capacity, 0, live + 1};
  if (live > 0) std::memcpy(grown->slots(), versions->slots() + begin, live * sizeof(RowVersion));
  grown->slots()[live] = version;
  entry->versions_.store(grown, std::memory_order_release);
  AddBytes(bytes);
  if (versions != nullptr) {
    const size_t old_bytes = sizeof(Entry::Versions) + versions->capacity * sizeof(RowVersion);
    SubBytes(old_bytes);
    epochs_.Retire(versions, SizedDelete, old_bytes);
  }
}

void VersionIndex::Link(Entry* entry) {
  std::atomic<Entry*>& bucket = Bucket(HashKey(entry->table_, entry->key()));
  entry->next_.store(bucket.load(std::memory_order_relaxed), std::memory_order_relaxed);
  bucket.store(entry, std::memory_order_release);
}

const RowBlob* VersionIndex::MakeBlob(std::optional<std::string_view> value) {
  const RowBlob* blob = RowBlob::Make(value);
  AddBytes(blob->bytes());
  return blob;
}

VersionIndex::Entry* VersionIndex::Put(uint8_t table, std::string_view key, std::optional<std::string_view> old_value,
                                       std::optional<std::string_view> new_value, uint64_t sequence,
                                       const Entry* known) {
  bool made = false;
  Entry* entry = known != nullptr ? const_cast<Entry*>(known) : FindOrMake(table, key, made);
  const RowBlob* old_blob = entry->latest_.load(std::memory_order_relaxed);
  if (old_blob == nullptr) {
    old_blob = MakeBlob(old_value);
    entry->latest_.store(old_blob, std::memory_order_release);
  }
  PushVersion(entry, {sequence, old_blob});
  // Linked with its version in place: a reader that finds it can tell what was before.
  if (made) Link(entry);
  entry->latest_.store(MakeBlob(new_value), std::memory_order_release);
  return entry;
}

void VersionIndex::PrefetchEntry(uint8_t table, std::string_view key, const Entry* known) const {
  if (known != nullptr) {
    __builtin_prefetch(known);
  } else {
    __builtin_prefetch(&Bucket(HashKey(table, key)));
  }
}

void VersionIndex::PrefetchVersions(uint8_t table, std::string_view key, const Entry* known) const {
  if (known != nullptr) {
    __builtin_prefetch(known->versions_.load(std::memory_order_relaxed));
  } else {
    __builtin_prefetch(Bucket(HashKey(table, key)).load(std::memory_order_relaxed));
  }
}

VersionIndex::Entry* VersionIndex::PutReplaced(uint8_t table, std::string_view key,
                                               std::optional<std::string_view> replaced, uint64_t sequence) {
  bool made;
  Entry* entry = FindOrMake(table, key, made);
  PushVersion(entry, {sequence, MakeBlob(replaced)});
  if (made) Link(entry);
  return entry;
}

void VersionIndex::Cache(uint8_t table, std::string_view key, std::optional<std::string_view> value) {
  bool made;
  Entry* entry = FindOrMake(table, key, made);
  if (entry->latest_.load(std::memory_order_relaxed) != nullptr) return;
  entry->latest_.store(MakeBlob(value), std::memory_order_release);
  if (made) Link(entry);
}

void VersionIndex::Trim(Entry* entry, uint64_t sequence) {
  Entry::Versions* versions = entry->versions_.load(std::memory_order_relaxed);
  if (versions == nullptr) return;
  uint32_t begin = versions->begin.load(std::memory_order_relaxed);
  const uint32_t end = versions->end.load(std::memory_order_relaxed);
  while (begin < end && versions->slots()[begin].sequence <= sequence) {
    const RowBlob* blob = versions->slots()[begin].old;
    ++begin;
    SubBytes(blob->bytes());
    if (!blob->absent()) epochs_.Retire(const_cast<RowBlob*>(blob), FreeBlob, blob->bytes());
  }
  versions->begin.store(begin, std::memory_order_release);
  if (begin < end) return;
  entry->versions_.store(nullptr, std::memory_order_release);
  const size_t bytes = sizeof(Entry::Versions) + versions->capacity * sizeof(RowVersion);
  SubBytes(bytes);
  epochs_.Retire(versions, SizedDelete, bytes);
  if (entry->latest_.load(std::memory_order_relaxed) == nullptr) Remove(entry);
}

void VersionIndex::TrimMany(std::span<Entry* const> entries, uint64_t sequence) {
  constexpr size_t kAhead = 8;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i + 2 * kAhead < entries.size()) __builtin_prefetch(entries[i + 2 * kAhead]);
    if (i + kAhead < entries.size()) __builtin_prefetch(entries[i + kAhead]->versions_.load(std::memory_order_relaxed));
    Trim(entries[i], sequence);
  }
}

void VersionIndex::Remove(Entry* entry) {
  std::atomic<Entry*>* link = &Bucket(HashKey(entry->table_, entry->key()));
  while (link->load(std::memory_order_relaxed) != entry) link = &link->load(std::memory_order_relaxed)->next_;
  link->store(entry->next_.load(std::memory_order_relaxed), std::memory_order_release);
  const RowBlob* latest = entry->latest_.load(std::memory_order_relaxed);
  if (latest != nullptr) {
    SubBytes(latest->bytes());
    if (!latest->absent()) epochs_.Retire(const_cast<RowBlob*>(latest), FreeBlob, latest->bytes());
  }
  const size_t bytes = BytesOf(*entry);
  SubBytes(bytes);
  rows_.fetch_sub(1, std::memory_order_relaxed);
  epochs_.Retire(entry, SizedDelete, bytes);
}

void VersionIndex::EvictTo(size_t max_bytes, size_t max_steps) {
  // Once around: what is left then is in use, or is the table of buckets itself.
  max_steps = std::min<size_t>(max_steps, bucket_mask_ + 1);
  uint64_t evicted = 0;
  for (; bytes() > max_bytes && max_steps > 0; --max_steps, hand_ = (hand_ + 1) & bucket_mask_) {
    Entry* entry = buckets_[hand_].load(std::memory_order_relaxed);
    while (entry != nullptr) {
      Entry* next = entry->next_.load(std::memory_order_relaxed);
      const bool clean = entry->versions_.load(std::memory_order_relaxed) == nullptr;
      if (clean && entry->used_.exchange(0, std::memory_order_relaxed) == 0) {
        Remove(entry);
        ++evicted;
      }
      entry = next;
    }
  }
  evicted_.fetch_add(evicted, std::memory_order_relaxed);
}

}  // namespace mptd::storage
