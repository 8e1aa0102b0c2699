#include "config/nearest.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_format.h"

namespace mptd::config {

size_t EditDistance(std::string_view a, std::string_view b) {
  // Row i holds the distances of a's first i letters to each prefix of b.
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  constexpr size_t kLongestWorthComparing = 100;
  constexpr size_t kFewestOfPrefix = 4;
  if (word.size() > kLongestWorthComparing) return "";
  std::string_view best;
  // A third of the letters may be wrong; those of a section in front do not buy more.
  const size_t letters = word.size() - (word.rfind('.') + 1);
  size_t best_distance = std::max<size_t>(1, letters / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  // Or a name was cut short: limits.max_memory.
  for (const std::string_view candidate : candidates) {
    if (!best.empty() || letters < kFewestOfPrefix) break;
    if (candidate.starts_with(word)) best = candidate;
  }
  return best;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string_view>& candidates) {
  const std::string_view best = Nearest(word, candidates);
  return best.empty() ? "" : absl::StrFormat("; did you mean %s?", best);
}

}  // namespace mptd::config
