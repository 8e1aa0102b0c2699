#include "core/nibbles.h"

#include "core/hex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

Bytes Hex(std::string_view text) { return FromHex(text).value(); }

Bytes HexPrefixed(BytesView nibbles, bool leaf) {
  Bytes out;
  AppendHexPrefix(out, nibbles, leaf);
  return out;
}

TEST(NibblesTest, UnpackAndAt) {
  const Bytes key = Hex("0x01f28e");
  EXPECT_EQ(ToHex(UnpackNibbles(key)), "0x00010f02080e");
  EXPECT_EQ(NibbleAt(key, 0), 0);
  EXPECT_EQ(NibbleAt(key, 2), 15);
  EXPECT_EQ(NibbleAt(key, 4), 8);
  EXPECT_EQ(NibbleAt(key, 5), 14);
  EXPECT_EQ(UnpackNibbles(""), "");
}

TEST(NibblesTest, CommonPrefix) {
  EXPECT_EQ(CommonPrefix("", ""), 0);
  EXPECT_EQ(CommonPrefix("", "\x01"), 0);
  EXPECT_EQ(CommonPrefix("\x01\x02\x03", "\x01\x02\x03"), 3);
  EXPECT_EQ(CommonPrefix("\x01\x02\x03", "\x01\x02"), 2);
  EXPECT_EQ(CommonPrefix("\x01\x02", "\x01\x02\x03"), 2);
  EXPECT_EQ(CommonPrefix("\x01\x02\x03", "\x01\x04\x03"), 1);
  EXPECT_EQ(CommonPrefix("\x01", "\x02"), 0);
}

TEST(NibblesTest, EthereumTestsHexPrefix) {
  const nlohmann::json suite = model::LoadJson("trie/hexencodetest.json");
  EXPECT_EQ(suite.size(), 12);
  for (const auto& [name, test] : suite.items()) {
    Bytes nibbles;
    for (const nlohmann::json& nibble : test["seq"]) nibbles.push_back(static_cast<char>(nibble.get<int>()));
    const Bytes expected = model::BytesOf(test["out"]);
    EXPECT_EQ(ToHex(HexPrefixed(nibbles, test["term"].get<bool>())), ToHex(expected)) << name;
    const absl::StatusOr<HexPrefix> decoded = DecodeHexPrefix(expected);
    ASSERT_TRUE(decoded.ok()) << name;
    EXPECT_EQ(decoded->nibbles, nibbles) << name;
    EXPECT_EQ(decoded->leaf, test["term"].get<bool>()) << name;
  }
}

TEST(NibblesTest, HexPrefixOfEveryLength) {
  Bytes nibbles;
  for (size_t size = 0; size <= 64; ++size) {
    for (const bool leaf : {false, true}) {
      Bytes out = "before";
      AppendHexPrefix(out, nibbles, leaf);
      EXPECT_EQ(out.size(), 6 + size / 2 + 1);
      EXPECT_TRUE(out.starts_with("before"));
      const absl::StatusOr<HexPrefix> decoded = DecodeHexPrefix(BytesView(out).substr(6));
      ASSERT_TRUE(decoded.ok()) << size;
      EXPECT_EQ(decoded->nibbles, nibbles);
      EXPECT_EQ(decoded->leaf, leaf);
    }
    nibbles.push_back(static_cast<char>((size * 7 + 3) % 16));
  }
}

TEST(NibblesTest, EveryTwoBytesAreRefusedOrCanonical) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const Bytes encoded{static_cast<char>(first), static_cast<char>(second)};
      const absl::StatusOr<HexPrefix> decoded = DecodeHexPrefix(encoded);
      const bool good =
          first == 0x00 || first == 0x20 || (first >= 0x10 && first < 0x20) || (first >= 0x30 && first < 0x40);
      ASSERT_EQ(decoded.ok(), good) << first;
      ASSERT_TRUE(!good || HexPrefixed(decoded->nibbles, decoded->leaf) == encoded) << first;
    }
  }
}

TEST(NibblesTest, HexPrefixErrors) {
  EXPECT_THAT(DecodeHexPrefix("").status().message(), HasSubstr("empty"));
  EXPECT_THAT(DecodeHexPrefix(Hex("0x40")).status().message(), HasSubstr("flag 4"));
  EXPECT_THAT(DecodeHexPrefix(Hex("0xf1")).status().message(), HasSubstr("flag 15"));
  EXPECT_THAT(DecodeHexPrefix(Hex("0x01")).status().message(), HasSubstr("padding"));
  EXPECT_THAT(DecodeHexPrefix(Hex("0x2a11")).status().message(), HasSubstr("padding"));
  EXPECT_EQ(DecodeHexPrefix("").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mptd
