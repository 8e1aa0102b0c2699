#include "storage/memory_store.h"

#include <array>
#include <map>
#include <utility>

#include "storage/mutex.h"

namespace mptd::storage {
namespace {

using Rows = std::map<std::string, std::string, std::less<>>;

class MemoryIterator final : public Iterator {
 public:
  explicit MemoryIterator(std::shared_ptr<const Rows> rows) : rows_(std::move(rows)), end_(rows_->end()), at_(end_) {}
  MemoryIterator(std::shared_ptr<const Rows> rows, std::string_view first, std::string_view last)
      : rows_(std::move(rows)), end_(rows_->upper_bound(last)), at_(first <= last ? rows_->lower_bound(first) : end_) {}

  void Seek(std::string_view key) override { at_ = rows_->lower_bound(key); }
  void Next() override { ++at_; }
  bool Valid() const override { return at_ != end_; }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<const Rows> rows_;
  const Rows::const_iterator end_;
  Rows::const_iterator at_;
};

class MemoryBulkLoad final : public BulkLoad {
 public:
  explicit MemoryBulkLoad(KeyValueStore& store) : store_(store) {}

  absl::Status Add(Table table, std::span<const Row> rows) override {
    Rows& kept = tables_[static_cast<size_t>(table)];
    std::optional<std::string_view> last;
    if (!kept.empty()) last = kept.rbegin()->first;
    if (absl::Status status = CheckLoaded(table, rows, last); !status.ok()) return status;
    for (const Row& row : rows) kept.emplace_hint(kept.end(), row.key, *row.value);
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    std::vector<TableBatch> batches;
    for (size_t i = 0; i < kTableCount; ++i) {
      TableBatch& batch = batches.emplace_back(TableBatch{static_cast<Table>(i), {}, {}});
      for (const auto& [key, value] : tables_[i]) batch.rows.push_back({key, value});
    }
    return store_.Ingest(batches);
  }

 private:
  KeyValueStore& store_;
  std::array<Rows, kTableCount> tables_;
};

class MemoryStore final : public KeyValueStore {
 public:
  MemoryStore() {
    for (auto& table : tables_) table = std::make_shared<Rows>();
  }

  absl::StatusOr<Value> Get(Table table, std::string_view key) const override {
    MutexLock lock(mutex_);
    return Find(table, key);
  }

  absl::Status MultiGet(Table table, std::span<const std::string_view> keys, std::span<Value> values,
                        bool /*sorted*/) const override {
    if (keys.size() != values.size()) return absl::InvalidArgumentError("as many values as keys are needed");
    MutexLock lock(mutex_);
    for (size_t i = 0; i < keys.size(); ++i) values[i] = Find(table, keys[i]);
    return absl::OkStatus();
  }

  std::unique_ptr<Iterator> NewIterator(Table table) const override {
    MutexLock lock(mutex_);
    return std::make_unique<MemoryIterator>(tables_[static_cast<size_t>(table)]);
  }
  std::unique_ptr<Iterator> NewIterator(Table table, std::string_view first, std::string_view last) const override {
    MutexLock lock(mutex_);
    return std::make_unique<MemoryIterator>(tables_[static_cast<size_t>(table)], first, last);
  }

  absl::Status Ingest(std::span<TableBatch> batches) override {
    if (absl::Status status = ValidateBatches(batches); !status.ok()) return status;
    MutexLock lock(mutex_);
    for (const TableBatch& batch : batches) Apply(batch);
    return absl::OkStatus();
  }

  std::unique_ptr<BulkLoad> NewBulkLoad() override { return std::make_unique<MemoryBulkLoad>(*this); }

  absl::Status Checkpoint(const std::string& /*dir*/) override {
    return absl::FailedPreconditionError("a memory store cannot be copied to disk");
  }
  absl::Status Compact() override { return absl::OkStatus(); }
  absl::Status Rewrite() override { return absl::OkStatus(); }

  StoreStats Stats() const override {
    StoreStats stats;
    MutexLock lock(mutex_);
    for (const auto& rows : tables_) {
      for (const auto& [key, value] : *rows) stats.memory_bytes += key.size() + value.size();
    }
    return stats;
  }
  uint64_t EstimateRows(Table table) const override {
    MutexLock lock(mutex_);
    return tables_[static_cast<size_t>(table)]->size();
  }

 private:
  Value Find(Table table, std::string_view key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Rows& rows = *tables_[static_cast<size_t>(table)];
    const auto found = rows.find(key);
    return found == rows.end() ? Value() : Value(found->second);
  }

  void Apply(const TableBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::shared_ptr<Rows>& rows = tables_[static_cast<size_t>(batch.table)];
    // An iterator reads the rows as they are: it keeps them, and the table goes on with a copy. New iterators are made
    // under the mutex, so that a count of one cannot grow meanwhile.
    if (rows.use_count() > 1) rows = std::make_shared<Rows>(*rows);
    for (const auto& [first, last] : batch.delete_ranges) {
      if (first < last) rows->erase(rows->lower_bound(first), rows->lower_bound(last));
    }
    for (const Row& row : batch.rows) {
      if (row.value) {
        rows->insert_or_assign(std::string(row.key), std::string(*row.value));
      } else if (const auto found = rows->find(row.key); found != rows->end()) {
        rows->erase(found);
      }
    }
  }

  mutable Mutex mutex_;
  std::array<std::shared_ptr<Rows>, kTableCount> tables_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<KeyValueStore> NewMemoryStore() { return std::make_unique<MemoryStore>(); }

}  // namespace mptd::storage
