#include "core/engine/row_offers.h"

namespace mptd {
namespace {

constexpr size_t kMostItems = 8192;
constexpr size_t kMostBytes = 1u << 20;

}  // namespace

void RowOffers::Offer(storage::Table table, BytesView key, std::optional<BytesView> value, uint64_t flushed) {
  if (!mutex_.TryLock()) return;
  if (offered_.items.size() < kMostItems && offered_.bytes.size() < kMostBytes) {
    Item item{flushed, static_cast<uint32_t>(offered_.bytes.size()), storage::RowBlob::kAbsent,
              static_cast<uint8_t>(key.size()), table};
    offered_.bytes.append(key);
    if (value) {
      item.value_size = static_cast<uint32_t>(value->size());
      offered_.bytes.append(*value);
    }
    offered_.items.push_back(item);
    if (offered_.items.size() == kMostItems / 2 && on_half_full_) on_half_full_();
  }
  mutex_.Unlock();
}

void RowOffers::OnHalfFull(std::function<void()> call) {
  absl::MutexLock lock(&mutex_);
  on_half_full_ = std::move(call);
}

void RowOffers::MoveInto(storage::VersionIndex& rows, uint64_t flushed) {
  {
    absl::MutexLock lock(&mutex_);
    std::swap(offered_, taken_);
  }
  const BytesView bytes = taken_.bytes;
  for (const Item& item : taken_.items) {
    if (item.flushed != flushed) continue;
    std::optional<BytesView> value;
    if (item.value_size != storage::RowBlob::kAbsent) value = bytes.substr(item.begin + item.key_size, item.value_size);
    rows.Cache(static_cast<uint8_t>(item.table), bytes.substr(item.begin, item.key_size), value);
  }
  taken_.items.clear();
  taken_.bytes.clear();
}

}  // namespace mptd
