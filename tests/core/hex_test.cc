#include "core/hex.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

constexpr char kMaxHex[] = "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
constexpr char kMaxDecimal[] = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

template <typename T>
std::string Error(const absl::StatusOr<T>& result) {
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(result.status().message());
}

TEST(HexTest, BytesRoundTrip) {
  Bytes all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const std::string text = ToHex(all);
  EXPECT_EQ(text.size(), 2 + 512);
  EXPECT_TRUE(text.starts_with("0x000102"));
  EXPECT_TRUE(text.ends_with("fdfeff"));
  EXPECT_EQ(FromHex(text).value(), all);
  EXPECT_EQ(FromHex(text.substr(2)).value(), all);
  EXPECT_EQ(FromHex("0xABcd").value(), "\xab\xcd");
  EXPECT_EQ(ToHex(Bytes()), "0x");
  EXPECT_EQ(FromHex("").value(), "");
  EXPECT_EQ(FromHex("0x").value(), "");
}

TEST(HexTest, ErrorsNameTheFirstWrongCharacter) {
  EXPECT_THAT(Error(FromHex("0x12g4zz")), HasSubstr("character 5, 'g'"));
  EXPECT_THAT(Error(FromHex("0X12")), HasSubstr("character 2, 'X'"));
  EXPECT_THAT(Error(FromHex("0x0x")), HasSubstr("character 4, 'x'"));
  EXPECT_THAT(Error(FromHex(" 12")), HasSubstr("character 1"));
  EXPECT_THAT(Error(FromHex(std::string_view("12\0\n", 4))), HasSubstr("character 3, '\\x00'"));
  EXPECT_THAT(Error(FromHex("\xff")), HasSubstr("'\\xff'"));
  EXPECT_THAT(Error(FromHex("0x123")), HasSubstr("odd number of digits (3)"));
}

TEST(HexTest, FixedSizes) {
  const std::string address = "0x00000000219ab540356cbb839cbe05303d7705fa";
  EXPECT_EQ(ToHex(AddressFromHex(address).value()), address);
  EXPECT_THAT(Error(AddressFromHex(address + "00")), HasSubstr("21 bytes where 20"));
  EXPECT_THAT(Error(AddressFromHex("0x")), HasSubstr("0 bytes"));
  EXPECT_EQ(HashFromHex(kMaxHex).value(), Hash::FromView(Bytes(32, '\xff')));
  EXPECT_THAT(Error(HashFromHex(address)), HasSubstr("20 bytes where 32"));
  EXPECT_EQ(ToHex(kEmptyRoot), "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
}

TEST(HexTest, WrittenQuantities) {
  EXPECT_EQ(ToHexQuantity(U256{}), "0x0");
  EXPECT_EQ(ToHexQuantity(U256::FromUint64(1)), "0x1");
  EXPECT_EQ(ToHexQuantity(U256::FromUint64(0x0f)), "0xf");
  EXPECT_EQ(ToHexQuantity(U256::FromUint64(0x10)), "0x10");
  EXPECT_EQ(ToHexQuantity(U256::FromUint64(0x0400)), "0x400");
  EXPECT_EQ(ToHexQuantity(U256::FromPadded(Bytes(32, '\xff'))), kMaxHex);
}

TEST(HexTest, ParsedQuantities) {
  EXPECT_EQ(ParseQuantity("0x0").value(), U256{});
  EXPECT_EQ(ParseQuantity("0").value(), U256{});
  EXPECT_EQ(ParseQuantity("0x04d2").value(), U256::FromUint64(1234));
  EXPECT_EQ(ParseQuantity("0x4D2").value(), U256::FromUint64(1234));
  EXPECT_EQ(ParseQuantity("1234").value(), U256::FromUint64(1234));
  // About as many digits as fit 64 bits.
  EXPECT_EQ(ParseQuantity("9999999999999999999").value(), U256::FromUint64(9999999999999999999u));
  EXPECT_EQ(ParseQuantity("18446744073709551615").value(), U256::FromUint64(UINT64_MAX));
  EXPECT_EQ(ParseQuantity("18446744073709551616").value(), ParseQuantity("0x10000000000000000").value());
  EXPECT_EQ(ParseQuantity("0001234").value(), U256::FromUint64(1234));
  EXPECT_EQ(ParseQuantity(kMaxHex).value(), U256::FromPadded(Bytes(32, '\xff')));
  EXPECT_EQ(ParseQuantity(kMaxDecimal).value(), U256::FromPadded(Bytes(32, '\xff')));
  EXPECT_EQ(ParseQuantity("0x" + std::string(200, '0') + "7").value(), U256::FromUint64(7));
  EXPECT_EQ(ParseQuantity(std::string(200, '0') + "7").value(), U256::FromUint64(7));
}

TEST(HexTest, QuantitiesThatAreNone) {
  EXPECT_THAT(Error(ParseQuantity("")), HasSubstr("without digits"));
  EXPECT_THAT(Error(ParseQuantity("0x")), HasSubstr("without digits"));
  EXPECT_THAT(Error(ParseQuantity("-1")), HasSubstr("character 1, '-', is not a decimal digit"));
  EXPECT_THAT(Error(ParseQuantity("12a")), HasSubstr("character 3"));
  EXPECT_THAT(Error(ParseQuantity("0x1g")), HasSubstr("character 4, 'g', is not a hexadecimal digit"));
  EXPECT_THAT(Error(ParseQuantity("0x1" + std::string(64, '0'))), HasSubstr("256 bits"));
  EXPECT_THAT(Error(ParseQuantity("115792089237316195423570985008687907853269984665640564039457584007913129639936")),
              HasSubstr("256 bits"));
  EXPECT_THAT(Error(ParseQuantity(std::string(1000, '9'))), HasSubstr("256 bits"));
}

TEST(HexTest, Uint64) {
  EXPECT_EQ(ParseUint64("0xffffffffffffffff").value(), ~uint64_t{0});
  EXPECT_EQ(ParseUint64("18446744073709551615").value(), ~uint64_t{0});
  EXPECT_EQ(ParseUint64("0x0").value(), 0);
  EXPECT_EQ(ParseUint64("42").value(), 42);
  EXPECT_THAT(Error(ParseUint64("18446744073709551616")), HasSubstr("64 bits"));
  EXPECT_THAT(Error(ParseUint64("0x10000000000000000")), HasSubstr("64 bits"));
  EXPECT_THAT(Error(ParseUint64("")), HasSubstr("without digits"));
}

}  // namespace
}  // namespace mptd
