#include "core/engine/history_reader.h"

#include <algorithm>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/byte_io.h"
#include "core/engine/undo_record.h"

namespace mptd {
namespace {

using storage::Table;

constexpr uint16_t kAbsent = 0xffff;

// Keys of accounts and slots have one size each; paths of branches have not.
bool VariableKeys(Table table) { return table == Table::kAccountNodes || table == Table::kSlotNodes; }

}  // namespace

absl::StatusOr<std::optional<BlockRecord>> ReadBlockRecord(const storage::KeyValueStore& kv, uint64_t number) {
  const absl::StatusOr<storage::Value> row = kv.Get(Table::kHistory, BlockKey(number));
  if (!row.ok()) return row.status();
  if (!row->has_value()) return std::nullopt;
  absl::StatusOr<BlockRecord> record = DecodeUndoHeader(**row);
  if (!record.ok()) return absl::DataLossError(absl::StrCat("table history, the row of block ", number, " is damaged"));
  return *std::move(record);
}

absl::StatusOr<std::optional<BlockRecord>> BlockRecords::Of(const storage::KeyValueStore& kv, uint64_t number,
                                                            uint64_t rollbacks) {
  constexpr size_t kMaxKept = 1024;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = kept_.find(number);
    if (rollbacks == rollbacks_ && it != kept_.end()) return std::optional<BlockRecord>(it->second);
  }
  absl::StatusOr<std::optional<BlockRecord>> record = ReadBlockRecord(kv, number);
  if (!record.ok() || !record->has_value()) return record;
  absl::MutexLock lock(&mutex_);
  if (rollbacks != rollbacks_ || kept_.size() >= kMaxKept) kept_.clear();
  rollbacks_ = rollbacks;
  kept_.insert_or_assign(number, **record);
  return record;
}

Bytes HistoryIndexPrefix(Table table, BytesView key) {
  Bytes out;
  out.push_back(static_cast<char>(table));
  if (VariableKeys(table)) out.push_back(static_cast<char>(key.size()));
  out.append(key);
  return out;
}

Bytes HistoryIndexKey(Table table, BytesView key, uint64_t last_number) {
  return HistoryIndexPrefix(table, key) + BlockKey(last_number);
}

bool IsExpired(BytesView index_key, uint64_t oldest) { return BlockNumberOf(index_key) <= oldest; }

void AppendHistoryEntry(Bytes& out, const HistoryEntry& entry) {
  ByteWriter writer(out);
  writer.U64(entry.number);
  writer.U16(entry.value ? static_cast<uint16_t>(entry.value->size()) : kAbsent);
  if (entry.value) writer.Append(*entry.value);
}

absl::StatusOr<std::vector<HistoryEntry>> DecodeHistoryEntries(BytesView row) {
  std::vector<HistoryEntry> entries;
  ByteReader in(row);
  while (!in.done() && !in.failed()) {
    HistoryEntry entry;
    entry.number = in.U64();
    const uint16_t size = in.U16();
    if (size != kAbsent) entry.value = in.Take(size);
    entries.push_back(entry);
  }
  if (in.failed() || entries.empty()) return absl::DataLossError("damaged row in table history_index");
  return entries;
}

absl::StatusOr<std::optional<std::optional<Bytes>>> HistoryReader::Row(Table table, BytesView key) const {
  const Bytes prefix = HistoryIndexPrefix(table, key);
  absl::MutexLock lock(&mutex_);
  storage::Iterator* it = rows_.get();
  it->Seek(HistoryIndexKey(table, key, number_ + 1));
  if (!it->Valid() || !it->key().starts_with(prefix)) {
    if (!it->status().ok()) return it->status();
    return std::optional<std::optional<Bytes>>();
  }
  absl::StatusOr<std::vector<HistoryEntry>> entries = DecodeHistoryEntries(it->value());
  if (!entries.ok()) return entries.status();
  for (const HistoryEntry& entry : *entries) {
    if (entry.number <= number_) continue;
    std::optional<Bytes> value;
    if (entry.value) value = Bytes(*entry.value);
    return std::optional<std::optional<Bytes>>(std::move(value));
  }
  return absl::DataLossError("a row in table history_index ends before its key says");
}

absl::Status HistoryReader::Undo(Table table, BytesView key,
                                 const std::function<absl::StatusOr<bool>(BytesView)>& each) const {
  const Bytes prefix = HistoryIndexPrefix(table, key);
  absl::MutexLock lock(&mutex_);
  storage::Iterator* it = rows_.get();
  for (it->Seek(HistoryIndexKey(table, key, number_ + 1)); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    absl::StatusOr<std::vector<HistoryEntry>> entries = DecodeHistoryEntries(it->value());
    if (!entries.ok()) return entries.status();
    for (const HistoryEntry& entry : *entries) {
      if (entry.number <= number_) continue;
      if (!entry.value) return absl::DataLossError("a branch without its undo entry in table history_index");
      absl::StatusOr<bool> enough = each(*entry.value);
      if (!enough.ok()) return enough.status();
      if (*enough) return absl::OkStatus();
    }
  }
  return it->status();
}

absl::Status HistoryReader::ChangedKeys(Table table, BytesView first, BytesView last, std::vector<Bytes>& out) const {
  absl::MutexLock lock(&mutex_);
  storage::Iterator* it = rows_.get();
  const Bytes begin = HistoryIndexPrefix(table, first);
  for (it->Seek(begin); it->Valid(); it->Next()) {
    const BytesView row = it->key();
    if (row.size() != begin.size() + 8 || row[0] != begin[0]) break;
    const BytesView key = row.substr(1, first.size());
    if (key > last) break;
    if (out.empty() || out.back() != key) out.emplace_back(key);
  }
  return it->status();
}

}  // namespace mptd
