// Recent versions of rows, in memory: what has been written and not yet flushed, what each recent transition replaced,
// and, as a cache, rows that were used lately. It is the overlay above the KeyValueStore and the history of the served
// window in one lookup.
//
// One thread, the owner, calls the writing methods; any number of readers call Find without locks at the same time.
// A reader holds an EpochPin while it uses what it found; memory taken out of the index is freed when every pin that
// was there at that time is gone. Transitions are numbered by a sequence that only grows, also through rollbacks.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace mptd::storage {

// Frees what readers may still be looking at. Pin and unpin are safe from any thread and take a short lock; they are
// made once a view, not once a read. Retire and Collect belong to the one thread that takes things out.
class EpochDomain {
 public:
  // Gets what Retire got: an allocator frees sooner what it is told the size of.
  using Deleter = void (*)(void* object, size_t bytes);

  EpochDomain() = default;
  EpochDomain(const EpochDomain&) = delete;
  EpochDomain& operator=(const EpochDomain&) = delete;
  ~EpochDomain();

  uint64_t Pin() ABSL_LOCKS_EXCLUDED(mutex_);
  void Unpin(uint64_t epoch) ABSL_LOCKS_EXCLUDED(mutex_);

  // `object` is not reachable any more for readers who pin from now on.
  void Retire(void* object, Deleter deleter, size_t bytes);
  // Frees what no pin can see. Cheap when there is nothing to do.
  void Collect() ABSL_LOCKS_EXCLUDED(mutex_);
  size_t retired_bytes() const { return retired_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Retired {
    uint64_t epoch;
    void* object;
    Deleter deleter;
    size_t bytes;
  };

  absl::Mutex mutex_;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 1;
  std::multiset<uint64_t> pins_ ABSL_GUARDED_BY(mutex_);

  // The owner's.
  std::deque<Retired> retired_;
  size_t sealed_ = 0;  // how many of retired_, from the front, have their epoch
  std::atomic<size_t> retired_bytes_{0};
};

// Holds an epoch for as long as it lives.
class EpochPin {
 public:
  explicit EpochPin(EpochDomain& domain) : domain_(domain), epoch_(domain.Pin()) {}
  ~EpochPin() { domain_.Unpin(epoch_); }
  EpochPin(const EpochPin&) = delete;
  EpochPin& operator=(const EpochPin&) = delete;

 private:
  EpochDomain& domain_;
  const uint64_t epoch_;
};

// What an allocator makes of a size.
constexpr size_t InMemory(size_t bytes) { return (bytes + 15) & ~size_t{15}; }

// Immutable bytes, or the statement that there is no row.
struct RowBlob {
  uint32_t size;

  bool absent() const { return size == kAbsent; }
  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), absent() ? 0 : size}; }
  size_t bytes() const { return absent() ? 0 : InMemory(sizeof(RowBlob) + size); }

  static constexpr uint32_t kAbsent = UINT32_MAX;
  static const RowBlob* Make(std::optional<std::string_view> value);
  static void Free(const RowBlob* blob) { FreeSized(blob, blob == nullptr ? 0 : blob->bytes()); }
  // `bytes` as the blob says of itself; it need not be looked at then.
  static void FreeSized(const RowBlob* blob, size_t bytes);
};

// What one transition replaced.
struct RowVersion {
  uint64_t sequence;
  const RowBlob* old;
};

class VersionIndex {
 public:
  // All that is known of one row. Readers see it through Find only.
  class Entry {
   public:
    uint8_t table() const { return table_; }
    std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size_}; }
    // The newest value; null when it is what the store has.
    const RowBlob* latest() const { return latest_.load(std::memory_order_acquire); }

   private:
    friend class VersionIndex;
    struct alignas(RowVersion) Versions {  // a growing array, oldest first
      uint32_t capacity;
      std::atomic<uint32_t> begin;
      std::atomic<uint32_t> end;
      RowVersion* slots() { return reinterpret_cast<RowVersion*>(this + 1); }
      const RowVersion* slots() const { return reinterpret_cast<const RowVersion*>(this + 1); }
    };

    // With a key of 32 bytes, one cache line.
    std::atomic<Entry*> next_{nullptr};
    std::atomic<const RowBlob*> latest_{nullptr};
    std::atomic<Versions*> versions_{nullptr};
    uint32_t hash_ = 0;  // the half that does not tell the bucket
    uint8_t key_size_ = 0;
    uint8_t table_ = 0;
    std::atomic<uint8_t> used_{0};
  };

  // `expected_rows` sizes the table of buckets, once.
  VersionIndex(EpochDomain& epochs, size_t expected_rows);
  ~VersionIndex();
  VersionIndex(const VersionIndex&) = delete;
  VersionIndex& operator=(const VersionIndex&) = delete;

  // Readers, holding a pin.
  // ---------------------------------------------------------------------------------------------

  const Entry* Find(uint8_t table, std::string_view key) const;
  // found[i] is the entry of keys[i] or null: the same for many, whose memory is fetched side by side.
  void FindMany(uint8_t table, std::span<const std::string_view> keys, std::span<const Entry*> found) const;
  // The row's value after transition `sequence`; null when it is what the store has.
  static const RowBlob* ValueAt(const Entry& entry, uint64_t sequence);

  // The owner. Keys are at most 255 bytes long.
  // ----------------------------------------------------------------------------------------------------------

  // Transition `sequence`, the newest of all, changes a row from `old_value` to `new_value` (nullopt: no row). `known`
  // is the row's entry where the owner has just found it, or null.
  Entry* Put(uint8_t table, std::string_view key, std::optional<std::string_view> old_value,
             std::optional<std::string_view> new_value, uint64_t sequence, const Entry* known = nullptr);
  // Ask for the memory that Put is going to look at. The second, some rows after the first, reads what the first has
  // asked for.
  void PrefetchEntry(uint8_t table, std::string_view key, const Entry* known) const;
  void PrefetchVersions(uint8_t table, std::string_view key, const Entry* known) const;
  // Only records what transition `sequence` replaced; the row's newest value is what the store has.
  Entry* PutReplaced(uint8_t table, std::string_view key, std::optional<std::string_view> replaced, uint64_t sequence);
  // Remembers a row that has just been read from the store, when it is not there.
  void Cache(uint8_t table, std::string_view key, std::optional<std::string_view> value);
  // Forgets the row's versions with sequence <= `sequence`: no reader asks for what was before them any more.
  void Trim(Entry* entry, uint64_t sequence);
  void TrimMany(std::span<Entry* const> entries, uint64_t sequence);
  // Takes clean rows (no versions) out until at most `max_bytes` are in use, looking into no more than `max_steps`
  // buckets.
  void EvictTo(size_t max_bytes, size_t max_steps);

  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  size_t buckets() const { return bucket_mask_ + 1; }
  size_t rows() const { return rows_.load(std::memory_order_relaxed); }
  // By EvictTo, ever.
  uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

 private:
  std::atomic<Entry*>& Bucket(uint64_t hash) const { return buckets_[hash & bucket_mask_]; }
  static bool Is(const Entry& entry, uint64_t hash, uint8_t table, std::string_view key) {
    return entry.hash_ == hash >> 32 && entry.table_ == table && entry.key() == key;
  }
  Entry* FindOrMake(uint8_t table, std::string_view key, bool& made);
  void Link(Entry* entry);
  static size_t BytesOf(const Entry& entry) { return InMemory(sizeof(Entry) + entry.key_size_); }
  const RowBlob* MakeBlob(std::optional<std::string_view> value);
  void PushVersion(Entry* entry, RowVersion version);
  void Remove(Entry* entry);
  void AddBytes(size_t n) { bytes_.fetch_add(n, std::memory_order_relaxed); }
  void SubBytes(size_t n) { bytes_.fetch_sub(n, std::memory_order_relaxed); }

  EpochDomain& epochs_;
  std::unique_ptr<std::atomic<Entry*>[]> buckets_;
  uint64_t bucket_mask_;
  size_t hand_ = 0;  // the bucket that the eviction's clock is at; the owner's
  std::atomic<size_t> bytes_{0};
  std::atomic<size_t> rows_{0};
  std::atomic<uint64_t> evicted_{0};
};

}  // namespace mptd::storage
