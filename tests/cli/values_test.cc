#include "cli/values.h"

#include "cli/at.h"
#include "cli/client.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "core/decimal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mptd::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kHash[] = "0x4ea2b9f8d9106a01c3e73267014bfa02733599dab438abded7952066fe4231ff";

std::string Error(const absl::Status& status) { return std::string(status.message()); }

TEST(ValuesTest, AddressesAndHashesHaveTheirLength) {
  EXPECT_EQ(AddressBytes("0x00000000000000000000000000000000000000Ff").value(), std::string(19, '\0') + "\xff");
  EXPECT_EQ(AddressBytes("00000000000000000000000000000000000000ff").value(), std::string(19, '\0') + "\xff");
  EXPECT_EQ(HashBytes(kHash)->size(), 32U);
  EXPECT_THAT(Error(AddressBytes("0x12").status()), HasSubstr("\"0x12\" is not an address"));
  EXPECT_THAT(Error(AddressBytes("0x1").status()), HasSubstr("is not an address"));
  EXPECT_THAT(Error(AddressBytes("0x000000000000000000000000000000000000000g").status()), HasSubstr("'g'"));
  EXPECT_THAT(Error(HashBytes("").status()), HasSubstr("it has 0 bytes where 32 are wanted"));
}

TEST(ValuesTest, SlotsArePaddedTo32Bytes) {
  const std::string one = std::string(31, '\0') + "\x01";
  for (const char* text : {"1", "0x1", "0x01", "0x0000000000000000000000000000000000000000000000000000000000000001",
                           "0000000000000000000000000000000000000000000000000000000000000001"}) {
    EXPECT_EQ(SlotBytes(text).value(), one) << text;
  }
  EXPECT_EQ(SlotBytes("256").value(), std::string(30, '\0') + std::string("\x01\0", 2));
  // 64 digits are a key, not a decimal number.
  EXPECT_EQ(SlotBytes(std::string(64, '1')).value(), std::string(32, '\x11'));
  for (const char* text :
       {"", "0x", "-1", "1.5", "slot", "0x00000000000000000000000000000000000000000000000000000000000000001"}) {
    EXPECT_FALSE(SlotBytes(text).ok()) << text;
  }
}

TEST(ValuesTest, QuantitiesLoseTheirLeadingZeros) {
  EXPECT_EQ(QuantityBytes("0x").value(), "");
  EXPECT_EQ(QuantityBytes("0").value(), "");
  EXPECT_EQ(QuantityBytes("0x0001").value(), "\x01");
  EXPECT_EQ(QuantityBytes("256").value(), std::string("\x01\0", 2));
  EXPECT_EQ(QuantityBytes("115792089237316195423570985008687907853269984665640564039457584007913129639935").value(),
            std::string(32, '\xff'));
  EXPECT_FALSE(QuantityBytes("115792089237316195423570985008687907853269984665640564039457584007913129639936").ok());
  EXPECT_FALSE(QuantityBytes("1e18").ok());
}

TEST(ValuesTest, QuantitiesAsText) {
  EXPECT_EQ(QuantityHex(""), "0x0");
  EXPECT_EQ(QuantityHex(std::string("\0\x0f", 2)), "0xf");
  EXPECT_EQ(ToDecimal(""), "0");
  EXPECT_EQ(ToDecimal(std::string(32, '\xff')),
            "115792089237316195423570985008687907853269984665640564039457584007913129639935");
  EXPECT_EQ(ToDecimal("\x3b\x9a\xca\x07"), "1000000007") << "a limb with leading zeros";
}

TEST(ValuesTest, EtherHasUpTo18Decimals) {
  EXPECT_EQ(EtherText(""), "0");
  EXPECT_EQ(EtherText("\x01"), "0.000000000000000001");
  EXPECT_EQ(EtherText(QuantityBytes("1500000000000000000").value()), "1.5");
  EXPECT_EQ(EtherText(QuantityBytes("120000000000000000000").value()), "120");
  EXPECT_EQ(BalanceText(QuantityBytes("1500000000000000000").value()), "1500000000000000000 wei (1.5 ether)");
}

TEST(ValuesTest, CountsSizesAndTimes) {
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(999), "999");
  EXPECT_EQ(CountText(1000), "1,000");
  EXPECT_EQ(CountText(1234567), "1,234,567");
  EXPECT_EQ(SizeText(1023), "1023 B");
  EXPECT_EQ(SizeText(1536), "1.5 KiB");
  EXPECT_EQ(SizeText(uint64_t{3} << 40), "3.0 TiB");
  EXPECT_EQ(UptimeText(59), "59s");
  EXPECT_EQ(UptimeText(3 * 86400 + 4 * 3600), "3d 4h");
  EXPECT_EQ(DurationFromText("1.5s").value(), absl::Milliseconds(1500));
  EXPECT_EQ(DurationFromText("20").value(), absl::Seconds(20));
  for (const char* text : {"", "0", "-1s", "soon"}) EXPECT_FALSE(DurationFromText(text).ok()) << text;
}

TEST(AtTest, NamesBlocksInEveryForm) {
  const std::string raw = HashBytes(kHash).value();
  EXPECT_EQ(ParseAt("latest").value(), At{});
  EXPECT_EQ(ParseAt("17").value(), (At{.kind = At::Kind::kNumber, .number = 17, .bytes = {}}));
  EXPECT_EQ(ParseAt("0x11").value(), (At{.kind = At::Kind::kNumber, .number = 17, .bytes = {}}));
  EXPECT_EQ(ParseAt(kHash).value(), (At{.kind = At::Kind::kHashOrRoot, .number = 0, .bytes = raw}));
  EXPECT_EQ(ParseAt(std::string(kHash).substr(2)).value().kind, At::Kind::kHashOrRoot);
  EXPECT_EQ(ParseAt(std::string("hash:") + kHash).value(), (At{.kind = At::Kind::kHash, .number = 0, .bytes = raw}));
  EXPECT_EQ(ParseAt(std::string("root:") + kHash).value(), (At{.kind = At::Kind::kRoot, .number = 0, .bytes = raw}));
}

TEST(AtTest, SaysWhatMayBeWritten) {
  for (const char* text :
       {"", "newest", "-1", "0x", "hash:17", "root:", "18446744073709551616", "0x4ea2b9f8d9106a01c3e7"}) {
    const auto at = ParseAt(text);
    ASSERT_FALSE(at.ok()) << text;
    EXPECT_THAT(Error(at.status()), HasSubstr("write latest, a number")) << text;
  }
}

TEST(AtTest, ReferencesSetTheRightField) {
  EXPECT_TRUE(ToBlockRef(At{}).latest());
  EXPECT_EQ(ToBlockRef(ParseAt("17").value()).number(), 17U);
  EXPECT_EQ(ToBlockRef(ParseAt(kHash).value()).hash(), HashBytes(kHash).value());
  EXPECT_EQ(ToBlockRef(ParseAt(std::string("root:") + kHash).value()).state_root(), HashBytes(kHash).value());
}

TEST(ServerTargetTest, AddsWhatIsUsuallyLeftOut) {
  EXPECT_EQ(ServerTarget("10.0.0.1:7300").value(), "10.0.0.1:7300");
  EXPECT_EQ(ServerTarget("db.example").value(), "db.example:7300");
  EXPECT_EQ(ServerTarget(":7400").value(), "127.0.0.1:7400");
  EXPECT_EQ(ServerTarget("[::1]:7400").value(), "[::1]:7400");
  EXPECT_EQ(ServerTarget("[::1]").value(), "[::1]:7300");
  EXPECT_EQ(ServerTarget("unix:/run/mptd.sock").value(), "unix:/run/mptd.sock");
  for (const char* text :
       {"", "unix:", "http://host:7300", "/run/mptd.sock", "host:", "host:port", "[::1", "host:123456"}) {
    const auto target = ServerTarget(text);
    ASSERT_FALSE(target.ok()) << text;
    EXPECT_THAT(Error(target.status()), HasSubstr("write host:port or unix:/path"));
  }
}

TEST(TableTest, AlignsColumnsAndKeepsWidthsBetweenParts) {
  Table table({{"NAME"}, {"COUNT", Table::Align::kRight}, {"NOTE"}});
  table.Add({"a", "12345678", ""});
  EXPECT_EQ(table.Render(),
            "NAME     COUNT  NOTE\n"
            "a     12345678\n");
  table.Add({"longer", "1", "x"});
  EXPECT_EQ(table.Render(), "longer         1  x\n");
  EXPECT_EQ(table.Render(), "");
}

TEST(TableTest, FieldLinesAlignValues) {
  EXPECT_EQ(FieldLines({{"a", "1"}, {"longer", "2"}, {"b", ""}}), "a       1\nlonger  2\nb\n");
}

TEST(ProgressTest, LineFitsATerminal) {
  EXPECT_EQ(ProgressLine(0.5, "block 7", absl::ZeroDuration()), "[==========>         ]  50 %  block 7");
  EXPECT_EQ(ProgressLine(1.0, "x", absl::Seconds(9)), "[====================] 100 %  x");
  EXPECT_EQ(ProgressLine(0.25, "x", absl::Seconds(10)), "[=====>              ]  25 %  x  30s left");
  EXPECT_EQ(ProgressLine(std::nullopt, "x", absl::Seconds(10)), "x");
  EXPECT_LE(ProgressLine(0.3, std::string(200, 'x'), absl::Seconds(10)).size(), 79U);
}

}  // namespace
}  // namespace mptd::cli
