#include "config/nearest.h"

#include "gtest/gtest.h"

namespace mptd::config {
namespace {

TEST(NearestTest, CountsLetters) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("sync", "sync"), 0u);
  EXPECT_EQ(EditDistance("snyc", "sync"), 1u);  // swapped
  EXPECT_EQ(EditDistance("syn", "sync"), 1u);
  EXPECT_EQ(EditDistance("sink", "sync"), 2u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

TEST(NearestTest, MentionsOnlyWhatIsNear) {
  EXPECT_EQ(Nearest("asnyc", {"sync", "batched", "async"}), "async");
  EXPECT_EQ(Nearest("fast", {"sync", "batched", "async"}), "");
  EXPECT_EQ(Nearest("", {"a-long-word"}), "");
  EXPECT_EQ(Nearest("b", {}), "");
  EXPECT_EQ(Nearest("bb", {"ba", "bc"}), "ba");  // the first of several
  EXPECT_EQ(Nearest(std::string(1000, 'a'), {"a"}), "");
}

TEST(NearestTest, KnowsWhatWasCutShort) {
  EXPECT_EQ(Nearest("limits.max_memory", {"limits.max_trie_depth", "limits.max_memory_bytes"}),
            "limits.max_memory_bytes");
  EXPECT_EQ(Nearest("limits.max", {"limits.max_trie_depth"}), "") << "that could be anything";
  EXPECT_EQ(Nearest("", {"limits.max_trie_depth"}), "");
}

TEST(NearestTest, ASectionInFrontDoesNotMakeLettersCheaper) {
  EXPECT_EQ(Nearest("persistence.what", {"persistence.mode"}), "");
  EXPECT_EQ(Nearest("persistence.moda", {"persistence.mode"}), "persistence.mode");
}

TEST(NearestTest, Asks) {
  EXPECT_EQ(DidYouMean("snyc", {"sync"}), "; did you mean sync?");
  EXPECT_EQ(DidYouMean("fast", {"sync"}), "");
}

}  // namespace
}  // namespace mptd::config
