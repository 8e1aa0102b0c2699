#include "core/account.h"

#include <random>
#include <vector>

#include "core/hex.h"
#include "core/rlp.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

const Hash kRootA = Hash::FromView(Bytes(32, '\xaa'));
const Hash kCodeB = Hash::FromView(Bytes(32, '\xbb'));

// Accounts at every boundary of the encodings' sizes.
std::vector<Account> Accounts() {
  std::vector<Account> out;
  std::vector<uint64_t> nonces = {0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, ~uint64_t{0}};
  std::vector<U256> balances = {U256{}};
  for (size_t size = 1; size <= 32; ++size) {
    for (const char top : {'\x01', '\x7f', '\x80', '\xff'})
      balances.push_back(U256::FromPadded(top + Bytes(size - 1, '\0')));
  }
  for (const uint64_t nonce : nonces) {
    for (const U256& balance : balances) {
      for (const Hash& root : {kEmptyRoot, kRootA}) {
        for (const Hash& code : {kEmptyCodeHash, kCodeB}) out.push_back({nonce, balance, root, code});
      }
    }
  }
  return out;
}

Bytes AccountRlp(const Account& account) {
  Bytes out;
  AppendAccountRlp(out, account);
  return out;
}

// The same through the general writer.
Bytes PlainAccountRlp(const Account& account) {
  Bytes payload;
  rlp::AppendUint(payload, account.nonce);
  rlp::AppendString(payload, account.balance.minimal());
  rlp::AppendString(payload, account.storage_root.view());
  rlp::AppendString(payload, account.code_hash.view());
  Bytes out;
  rlp::AppendListHeader(out, payload.size());
  return out + payload;
}

// As go-ethereum 1.17.0 has it in a leaf: geth_chain.json.gz, block 0, address 0x…04.
TEST(AccountTest, KnownRlp) {
  EXPECT_EQ(ToHex(AccountRlp({0, U256::FromUint64(1), kEmptyRoot, kEmptyCodeHash})),
            "0xf8448001a056e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
            "a0c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
}

TEST(AccountTest, RlpRoundTrip) {
  for (const Account& account : Accounts()) {
    const Bytes encoded = AccountRlp(account);
    ASSERT_EQ(ToHex(encoded), ToHex(PlainAccountRlp(account)));
    const absl::StatusOr<Account> decoded = DecodeAccountRlp(encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, account);
  }
}

TEST(AccountTest, RlpIsStrict) {
  const auto error = [](std::string_view nonce, std::string_view balance, std::string_view rest) {
    const Bytes payload = FromHex(nonce).value() + FromHex(balance).value() + FromHex(rest).value();
    Bytes bytes;
    rlp::AppendListHeader(bytes, payload.size());
    const absl::Status status = DecodeAccountRlp(bytes + payload).status();
    return status.ok() ? "accepted" : std::string(status.message());
  };
  const std::string hash = "a0" + std::string(64, 'a');
  EXPECT_EQ(error("80", "80", hash + hash), "accepted");
  EXPECT_THAT(error("00", "80", hash + hash), HasSubstr("leading zero"));
  EXPECT_THAT(error("8101", "80", hash + hash), HasSubstr("single byte"));
  EXPECT_THAT(error("89010000000000000000", "80", hash + hash), HasSubstr("at most 8"));
  EXPECT_THAT(error("c0", "80", hash + hash), HasSubstr("list"));
  EXPECT_THAT(error("80", "820001", hash + hash), HasSubstr("leading zero"));
  EXPECT_THAT(error("80", "a101" + std::string(64, '0'), hash + hash), HasSubstr("at most 32"));
  EXPECT_THAT(error("80", "c0", hash + hash), HasSubstr("balance is a list"));
  EXPECT_THAT(error("80", "80", "80" + hash), HasSubstr("storage root"));
  EXPECT_THAT(error("80", "80", hash + "9f" + std::string(62, 'a')), HasSubstr("code hash"));
  EXPECT_THAT(error("80", "80", hash), HasSubstr("no item"));
  EXPECT_THAT(error("80", "80", hash + hash + "80"), HasSubstr("more than four"));
  EXPECT_EQ(DecodeAccountRlp("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(DecodeAccountRlp("\x80").ok());
  EXPECT_FALSE(DecodeAccountRlp("\xc0").ok());
  EXPECT_FALSE(DecodeAccountRlp(AccountRlp({}) + "x").ok());
}

// On disk, never change.
TEST(AccountTest, KnownSlimRows) {
  EXPECT_EQ(ToHex(SlimAccount({})), "0x00");
  EXPECT_EQ(ToHex(SlimAccount({1, U256::FromUint64(0x1234), kEmptyRoot, kEmptyCodeHash})), "0x01011234");
  EXPECT_EQ(ToHex(SlimAccount({0x1ff, U256{}, kRootA, kEmptyCodeHash})), "0x1201ff" + std::string(64, 'a'));
  EXPECT_EQ(ToHex(SlimAccount({0, U256::FromUint64(5), kEmptyRoot, kCodeB})), "0x20" + std::string(64, 'b') + "05");
  EXPECT_EQ(ToHex(SlimAccount({1, U256::FromUint64(5), kRootA, kCodeB})),
            "0x3101" + std::string(64, 'a') + std::string(64, 'b') + "05");
}

TEST(AccountTest, SlimRoundTrip) {
  for (const Account& account : Accounts()) {
    Bytes out = "before";
    AppendSlimAccount(out, account);
    ASSERT_EQ(out, "before" + SlimAccount(account));
    const absl::StatusOr<Account> decoded = DecodeSlimAccount(SlimAccount(account));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, account);
    ASSERT_EQ(SlimHasStorage(SlimAccount(account)), account.storage_root != kEmptyRoot);
  }
}

TEST(AccountTest, SlimIsStrict) {
  const auto error = [](std::string_view hex) {
    const absl::Status status = DecodeSlimAccount(FromHex(hex).value()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    return std::string(status.message());
  };
  EXPECT_THAT(error(""), HasSubstr("empty row"));
  EXPECT_THAT(error("09010101010101010101"), HasSubstr("flags 0x09"));
  EXPECT_THAT(error("40"), HasSubstr("flags 0x40"));
  EXPECT_THAT(error("80"), HasSubstr("flags 0x80"));
  EXPECT_THAT(error("0201"), HasSubstr("truncated"));
  EXPECT_THAT(error("10" + std::string(62, 'a')), HasSubstr("truncated"));
  EXPECT_THAT(error("30" + std::string(126, 'a')), HasSubstr("truncated"));
  EXPECT_THAT(error("0100"), HasSubstr("leading zero"));
  EXPECT_THAT(error("0000"), HasSubstr("leading zero"));
  EXPECT_THAT(error("00" + std::string(66, 'f')), HasSubstr("at most 32"));
  EXPECT_THAT(error("10" + ToHex(kEmptyRoot).substr(2)), HasSubstr("empty storage root"));
  EXPECT_THAT(error("20" + ToHex(kEmptyCodeHash).substr(2)), HasSubstr("empty code hash"));
}

// Both encodings have exactly one form, so whatever is accepted is written back as it was.
TEST(AccountTest, MutantsAreRefusedOrCanonical) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (const Account& account : Accounts()) {
    for (Bytes row : {SlimAccount(account), AccountRlp(account)}) {
      for (int i = 0; i < 8; ++i) {
        const uint64_t dice = random();
        row[dice % row.size()] = static_cast<char>(dice >> 32);
        if (dice % 5 == 0) row.pop_back();
        if (row.empty()) break;
        const absl::StatusOr<Account> slim = DecodeSlimAccount(row);
        ASSERT_TRUE(!slim.ok() || SlimAccount(*slim) == row) << ToHex(row);
        const absl::StatusOr<Account> rlp = DecodeAccountRlp(row);
        ASSERT_TRUE(!rlp.ok() || AccountRlp(*rlp) == row) << ToHex(row);
      }
    }
  }
}

}  // namespace
}  // namespace mptd
