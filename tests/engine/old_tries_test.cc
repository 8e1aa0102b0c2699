// What is kept of old blocks' tries: by block, the last used ones, and none that is full.
#include "core/engine/old_tries.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace mptd::testing {
namespace {

OwnedBranch SomeBranch() {
  BranchShape shape;
  shape.children = 0x21;
  shape.branches = 0x01;
  return OwnedBranch(BranchNode::Make(0, {}, shape, shape.branches));
}

TEST(OldTries, ABlockIsAskedForAgain) {
  OldTries tries(1 << 20);
  const std::shared_ptr<OldTrie> seven = tries.Of(7);
  EXPECT_NE(tries.Of(8), seven);
  EXPECT_EQ(tries.Of(7), seven);
}

TEST(OldTries, TheLastUsedAreKept) {
  OldTries tries(1 << 20);
  std::vector<std::shared_ptr<OldTrie>> first;
  for (uint64_t i = 0; i < 8; ++i) first.push_back(tries.Of(i));
  EXPECT_EQ(tries.Of(0), first[0]);
  EXPECT_NE(tries.Of(100), nullptr);  // block 1 gives way
  EXPECT_EQ(tries.Of(0), first[0]);
  EXPECT_EQ(tries.Of(2), first[2]);
  EXPECT_NE(tries.Of(1), first[1]);
}

TEST(OldTries, AFullOneGivesWay) {
  OldTries tries(8 * 100);
  const std::shared_ptr<OldTrie> trie = tries.Of(7);
  EXPECT_TRUE(trie->HasRoom());
  trie->Count(101);
  EXPECT_FALSE(trie->HasRoom());
  const std::shared_ptr<OldTrie> next = tries.Of(7);
  EXPECT_NE(next, trie);
  EXPECT_TRUE(next->HasRoom());
  EXPECT_EQ(tries.Of(7), next);
}

// Of several who bring a root or a child at once, all get the same one; the trie frees what it kept.
TEST(OldTries, TheFirstRootAndChildStay) {
  OldTries tries(1 << 20);
  const std::shared_ptr<OldTrie> trie = tries.Of(1);
  EXPECT_EQ(trie->root(), nullptr);
  std::vector<BranchNode*> roots(4);
  std::vector<BranchNode*> children(4);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        roots[i] = trie->SetRoot(SomeBranch());
        OwnedBranch child = SomeBranch();
        children[i] = roots[i]->Link(0, child.get());
        if (children[i] == child.get()) (void)child.release();
      });
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(roots[i], trie->root());
    EXPECT_EQ(children[i], trie->root()->child_branch(0));
  }
}

TEST(BranchNode, AClosedPlaceTakesNobody) {
  const OwnedBranch node = SomeBranch();
  EXPECT_EQ(node->Close(0), nullptr);
  OwnedBranch child = SomeBranch();
  EXPECT_EQ(node->Link(0, child.get()), nullptr);
  EXPECT_EQ(node->child_branch(0), nullptr);
  const OwnedBranch copy(BranchNode::CopyOf(*node, 5, node->pointers, false));
  node->Reopen();
  EXPECT_EQ(node->Link(0, child.get()), child.get());
  EXPECT_EQ(node->Close(0), child.get());
  EXPECT_EQ(node->child_branch(0), child.get());
  EXPECT_EQ(copy->child_branch(0), nullptr);
  EXPECT_EQ(copy->Link(0, child.get()), child.get()) << "a copy's places are open";
}

}  // namespace
}  // namespace mptd::testing
