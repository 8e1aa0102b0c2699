#include "core/decimal.h"

#include "gtest/gtest.h"

namespace mptd {
namespace {

TEST(DecimalTest, QuantitiesOfAnyLength) {
  EXPECT_EQ(ToDecimal(""), "0");
  EXPECT_EQ(ToDecimal(std::string(32, '\0')), "0");
  EXPECT_EQ(ToDecimal("\x1f"), "31");
  EXPECT_EQ(ToDecimal(std::string("\0\0\x01\0", 4)), "256");
  EXPECT_EQ(ToDecimal("\x3b\x9a\xca\x07"), "1000000007") << "a limb with leading zeros";
  EXPECT_EQ(ToDecimal(std::string(32, '\xff')),
            "115792089237316195423570985008687907853269984665640564039457584007913129639935");
}

}  // namespace
}  // namespace mptd
