#include "core/rlp.h"

#include <random>
#include <vector>

#include "core/hex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

Bytes Hex(std::string_view text) { return FromHex(text).value(); }

Bytes String(BytesView payload) {
  Bytes out;
  rlp::AppendString(out, payload);
  return out;
}

Bytes Uint(uint64_t value) {
  Bytes out;
  rlp::AppendUint(out, value);
  return out;
}

Bytes List(BytesView payload) {
  Bytes out;
  rlp::AppendListHeader(out, payload.size());
  return out.append(payload);
}

std::string Error(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

// A value of ethereum/tests: a string, a number, "#" and a decimal number, or a list of these.
Bytes Encode(const nlohmann::json& value) {
  if (value.is_array()) {
    Bytes payload;
    for (const nlohmann::json& item : value) payload += Encode(item);
    return List(payload);
  }
  if (value.is_number()) return Uint(value.get<uint64_t>());
  const auto text = value.get<std::string>();
  if (!text.starts_with('#')) return String(text);
  const absl::StatusOr<U256> number = ParseQuantity(text.substr(1));
  if (number.ok()) return String(number->minimal());
  // The suite's one number of more than 256 bits: 2^256.
  EXPECT_EQ(text, "#115792089237316195423570985008687907853269984665640564039457584007913129639936");
  return String(Bytes(1, '\x01') + Bytes(32, '\0'));
}

// Reads everything inside and writes it again.
Bytes Rewrite(const rlp::Item& item) {
  if (!item.is_list) return String(item.payload);
  Bytes payload;
  for (BytesView rest = item.payload; !rest.empty();) {
    const absl::StatusOr<rlp::Item> inner = rlp::Read(rest);
    EXPECT_TRUE(inner.ok()) << inner.status();
    if (!inner.ok()) break;
    payload += Rewrite(*inner);
  }
  return List(payload);
}

TEST(RlpTest, EthereumTestsValid) {
  const nlohmann::json suite = model::LoadJson("rlp/rlptest.json");
  EXPECT_EQ(suite.size(), 28);
  for (const auto& [name, test] : suite.items()) {
    const Bytes expected = Hex(test["out"].get<std::string>());
    EXPECT_EQ(ToHex(Encode(test["in"])), ToHex(expected)) << name;
    EXPECT_TRUE(rlp::Validate(expected).ok()) << name;
    const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(expected);
    ASSERT_TRUE(item.ok()) << name;
    EXPECT_EQ(item->encoded, expected) << name;
    EXPECT_EQ(Rewrite(*item), expected) << name;
  }
}

TEST(RlpTest, EthereumTestsInvalid) {
  const nlohmann::json suite = model::LoadJson("rlp/invalidRLPTest.json");
  EXPECT_EQ(suite.size(), 26);
  for (const auto& [name, test] : suite.items()) {
    EXPECT_FALSE(rlp::Validate(Hex(test["out"].get<std::string>())).ok()) << name;
  }
}

TEST(RlpTest, EthereumTestsRandom) {
  const nlohmann::json suite = model::LoadJson("rlp/RandomRLPTests/example.json");
  EXPECT_EQ(suite.size(), 1);
  for (const auto& [name, test] : suite.items()) {
    EXPECT_EQ(rlp::Validate(Hex(test["out"].get<std::string>())).ok(), test["in"] == "VALID") << name;
  }
}

TEST(RlpTest, SizesAgreeWithTheWriters) {
  for (const size_t size : {0, 1, 2, 54, 55, 56, 57, 255, 256, 257, 65535, 65536, 70000}) {
    for (const char fill : {'\x00', '\x7f', '\x80'}) {
      const Bytes payload(size, fill);
      EXPECT_EQ(rlp::StringSize(payload), String(payload).size()) << size;
      EXPECT_EQ(rlp::HeaderSize(size) + size, List(payload).size()) << size;
      const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(String(payload));
      ASSERT_TRUE(item.ok()) << size << ": " << item.status();
      EXPECT_FALSE(item->is_list);
      EXPECT_EQ(item->payload.size(), size);
    }
  }
}

TEST(RlpTest, WritersAppend) {
  Bytes out = "before";
  rlp::AppendString(out, "dog");
  rlp::AppendUint(out, 1024);
  rlp::AppendListHeader(out, 3);
  EXPECT_EQ(ToHex(out.substr(6)), "0x83646f67820400c3");
  EXPECT_EQ(out.substr(0, 6), "before");
}

TEST(RlpTest, UintsRoundTrip) {
  for (int bit = 0; bit < 64; ++bit) {
    for (const uint64_t value : {(uint64_t{1} << bit) - 1, uint64_t{1} << bit, ~uint64_t{0} >> bit}) {
      const Bytes encoded = Uint(value);
      EXPECT_EQ(encoded, String(U256::FromUint64(value).minimal())) << value;
      const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(encoded);
      ASSERT_TRUE(item.ok());
      EXPECT_EQ(rlp::ToUint(*item).value(), value);
    }
  }
}

TEST(RlpTest, UintsAreStrict) {
  const auto to_uint = [](std::string_view hex) {
    const Bytes bytes = Hex(hex);
    return rlp::ToUint(rlp::ReadOnly(bytes).value()).status();
  };
  EXPECT_THAT(Error(to_uint("0x820001")), HasSubstr("leading zero"));
  EXPECT_THAT(Error(to_uint("0x00")), HasSubstr("leading zero"));
  EXPECT_THAT(Error(to_uint("0x89010000000000000000")), HasSubstr("at most 8"));
  EXPECT_THAT(Error(to_uint("0xc0")), HasSubstr("list"));
}

TEST(RlpTest, ReadTakesOneItemOff) {
  const Bytes bytes = Hex("0x83646f67c20102807f");
  BytesView rest = bytes;
  EXPECT_EQ(rlp::Read(rest)->payload, "dog");
  const rlp::Item list = rlp::Read(rest).value();
  EXPECT_TRUE(list.is_list);
  EXPECT_EQ(ToHex(list.payload), "0x0102");
  EXPECT_EQ(ToHex(list.encoded), "0xc20102");
  EXPECT_EQ(rlp::Read(rest)->payload, "");
  EXPECT_EQ(rlp::Read(rest)->payload, "\x7f");
  EXPECT_TRUE(rest.empty());
  EXPECT_THAT(Error(rlp::Read(rest).status()), HasSubstr("no item"));
}

TEST(RlpTest, ErrorsSayWhatIsWrong) {
  const auto read = [](std::string_view hex) { return Error(rlp::Validate(Hex(hex))); };
  EXPECT_THAT(read("0x8100"), HasSubstr("single byte"));
  EXPECT_THAT(read("0xb800"), HasSubstr("leading zero"));
  EXPECT_THAT(read("0xb801ff"), HasSubstr("long form"));
  EXPECT_THAT(read("0xf803010203"), HasSubstr("long form"));
  EXPECT_THAT(read("0x83ff"), HasSubstr("only 1 are left"));
  EXPECT_THAT(read("0xbfffffffffffffffff"), HasSubstr("only 0 are left"));
  EXPECT_THAT(read("0xb9ff"), HasSubstr("only 2 are left"));
  EXPECT_THAT(read("0x8080"), HasSubstr("1 bytes after"));
  EXPECT_THAT(read("0xc28100"), HasSubstr("single byte"));
  EXPECT_THAT(Error(rlp::ReadOnly("").status()), HasSubstr("no item"));
}

TEST(RlpTest, AFailedReadLeavesTheInput) {
  const Bytes bytes = Hex("0x8100");
  BytesView rest = bytes;
  EXPECT_FALSE(rlp::Read(rest).ok());
  EXPECT_EQ(rest, bytes);
}

TEST(RlpTest, DepthIsBounded) {
  Bytes nested = Hex("0xc0");
  for (int i = 1; i < 1024; ++i) nested = List(nested);
  EXPECT_TRUE(rlp::Validate(nested).ok());
  EXPECT_THAT(Error(rlp::Validate(List(nested))), HasSubstr("more than 1024"));
  EXPECT_TRUE(rlp::Validate(List(nested), 1025).ok());
  EXPECT_TRUE(rlp::Validate(String("dog"), 0).ok());
  EXPECT_FALSE(rlp::Validate(Hex("0xc0"), 0).ok());
  EXPECT_FALSE(rlp::Validate(Hex("0xc0"), -1).ok());

  // As deep as one likes without recursion: built from the inside in one buffer, the innermost list last.
  std::vector<Bytes> headers;
  size_t size = 0;
  for (int i = 0; i < 200'000; ++i) {
    Bytes header;
    rlp::AppendListHeader(header, size);
    size += header.size();
    headers.push_back(header);
  }
  Bytes deep;
  for (size_t i = headers.size(); i-- > 0;) deep += headers[i];
  EXPECT_TRUE(rlp::Validate(deep, 200'000).ok());
  EXPECT_FALSE(rlp::Validate(deep, 199'999).ok());
}

// Canonical means: there is one encoding. So whatever is accepted must be written back as it was.
TEST(RlpTest, RandomBytesAreRefusedOrCanonical) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const Bytes starts = Hex("0x00017f8081b7b8b9bfc0c1c2c3f7f8f9ff");
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    Bytes bytes(random() % 12, '\0');
    for (char& c : bytes) {
      const uint64_t dice = random();
      c = dice % 2 == 0 ? starts[dice / 2 % starts.size()] : static_cast<char>(dice >> 8);
    }
    if (!rlp::Validate(bytes).ok()) continue;
    ++accepted;
    ASSERT_EQ(ToHex(Rewrite(rlp::ReadOnly(bytes).value())), ToHex(bytes));
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace mptd
