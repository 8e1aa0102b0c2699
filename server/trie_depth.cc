#include "server/trie_depth.h"

#include <algorithm>

namespace mptd {
namespace {

constexpr unsigned kPlaces = 16;
constexpr size_t kLeavesAPlace = 34;

uint64_t SharedNibbles(const Hash& a, const Hash& b) {
  for (size_t i = 0; i < Hash::kSize; ++i) {
    const unsigned differing = a.bytes[i] ^ b.bytes[i];
    if (differing != 0) return 2 * i + (differing < 0x10 ? 1 : 0);
  }
  return 2 * Hash::kSize;
}

class Depths {
 public:
  // A leaf is as deep as what it shares with the closer of its neighbours, and one nibble more.
  void Add(uint64_t shared) {
    sum_ += shared + 1;
    max_ = std::max(max_, shared + 1);
    ++count_;
  }
  // Leaves that follow each other; the first and the last one only for what they tell of those between.
  void AddBetween(const std::vector<HashedAccount>& leaves) {
    for (size_t i = 1; i + 1 < leaves.size(); ++i) {
      Add(std::max(SharedNibbles(leaves[i - 1].key, leaves[i].key), SharedNibbles(leaves[i].key, leaves[i + 1].key)));
    }
  }
  // All leaves of a trie.
  void AddAll(const std::vector<HashedAccount>& leaves) {
    if (leaves.size() < 2) return;
    AddBetween(leaves);
    Add(SharedNibbles(leaves[0].key, leaves[1].key));
    Add(SharedNibbles(leaves[leaves.size() - 2].key, leaves.back().key));
  }
  TrieDepth Result() const {
    if (count_ == 0) return {};
    return {static_cast<double>(sum_) / static_cast<double>(count_), max_};
  }

 private:
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
  uint64_t count_ = 0;
};

}  // namespace

absl::StatusOr<TrieDepth> SampleDepth(const StateView& view) {
  Depths depths;
  for (unsigned place = 0; place < kPlaces; ++place) {
    Hash start;
    start.bytes[0] = static_cast<uint8_t>(place * 256 / kPlaces);
    const absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(start, kLeavesAPlace);
    if (!page.ok()) return page.status();
    if (place == 0 && !page->next.has_value()) {
      depths.AddAll(page->items);
      break;
    }
    depths.AddBetween(page->items);
  }
  return depths.Result();
}

}  // namespace mptd
