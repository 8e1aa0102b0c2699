// Offered rows reach the index, unless they may be old, there are too many, or the index knows better.
#include "core/engine/row_offers.h"

#include <gtest/gtest.h>

#include <string>

namespace mptd::testing {
namespace {

using storage::Table;
using storage::VersionIndex;

constexpr auto kAccounts = static_cast<uint8_t>(Table::kAccounts);

std::string KeyOf(int i) {
  std::string key = "key " + std::to_string(i);
  key.resize(32, 'x');
  return key;
}

struct Index {
  storage::EpochDomain epochs;
  VersionIndex rows{epochs, 1024};
};

TEST(RowOffers, RowsAndTheirAbsence) {
  Index index;
  RowOffers offers;
  offers.Offer(Table::kAccounts, KeyOf(1), "one", 5);
  offers.Offer(Table::kSlots, KeyOf(1) + KeyOf(2), "", 5);
  offers.Offer(Table::kAccounts, KeyOf(2), std::nullopt, 5);
  EXPECT_EQ(index.rows.Find(kAccounts, KeyOf(1)), nullptr);
  offers.MoveInto(index.rows, 5);
  EXPECT_EQ(index.rows.Find(kAccounts, KeyOf(1))->latest()->view(), "one");
  const auto* slot = index.rows.Find(static_cast<uint8_t>(Table::kSlots), KeyOf(1) + KeyOf(2))->latest();
  EXPECT_FALSE(slot->absent());
  EXPECT_EQ(slot->view(), "");
  EXPECT_TRUE(index.rows.Find(kAccounts, KeyOf(2))->latest()->absent());
  EXPECT_EQ(index.rows.rows(), 3u);
  offers.MoveInto(index.rows, 5);
  EXPECT_EQ(index.rows.rows(), 3u);
}

TEST(RowOffers, NotWhatWasReadBeforeAFlush) {
  Index index;
  RowOffers offers;
  offers.Offer(Table::kAccounts, KeyOf(1), "old", 5);
  offers.Offer(Table::kAccounts, KeyOf(2), "new", 9);
  offers.MoveInto(index.rows, 9);
  EXPECT_EQ(index.rows.Find(kAccounts, KeyOf(1)), nullptr);
  EXPECT_NE(index.rows.Find(kAccounts, KeyOf(2)), nullptr);
}

TEST(RowOffers, TheIndexKnowsBetter) {
  Index index;
  RowOffers offers;
  offers.Offer(Table::kAccounts, KeyOf(1), "old", 5);
  index.rows.Put(kAccounts, KeyOf(1), "old", "changed", 7);
  offers.MoveInto(index.rows, 5);
  EXPECT_EQ(index.rows.Find(kAccounts, KeyOf(1))->latest()->view(), "changed");
}

TEST(RowOffers, NoMoreThanThereIsRoomFor) {
  Index index;
  RowOffers offers;
  int calls = 0;
  offers.OnHalfFull([&] { ++calls; });
  for (int i = 0; i < 20'000; ++i) offers.Offer(Table::kAccounts, KeyOf(i), "value", 1);
  EXPECT_EQ(calls, 1);
  offers.MoveInto(index.rows, 1);
  EXPECT_EQ(index.rows.rows(), 8192u);
  for (int i = 0; i < 100; ++i) offers.Offer(Table::kAccounts, KeyOf(i), std::string(100'000, 'v'), 1);
  offers.MoveInto(index.rows, 1);
  EXPECT_EQ(index.rows.rows(), 8192u);
  offers.OnHalfFull(nullptr);
  for (int i = 30'000; i < 40'000; ++i) offers.Offer(Table::kAccounts, KeyOf(i), "value", 1);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace mptd::testing
