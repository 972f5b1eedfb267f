// Addresses and prefixes, checked against inet_pton(3), inet_ntop(3) and the examples of RFC 5952.
#include "core/net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace penstock {
namespace {

PrefixError problem(std::string_view text) { return parse_prefix(text).error; }

TEST(Address, RefusesWhatIsNotOneAddress) {
  for (const char* bad : {"", ".", "1", "1.2.3", "1.2.3.4.", "1.2.3.4.5", ".1.2.3", "1..2.3", "256.1.1.1", "1.2.3.256", "01.2.3.4", "1.2.3.00", "1.2.3.4 ", " 1.2.3.4",
                          "+1.2.3.4", "1.2.3.-4", "0x1.2.3.4", ":", ":::", "1:", ":1", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
                          "12345::", "g::", "1:2:3:4:5:6:7:", "fe80::1%eth0", "::1.2.3", "::1.2.3.4.5", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "[::1]",
                          "::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:ffff:1.2.3.4"})
    EXPECT_FALSE(Address::parse(bad)) << bad;
}

TEST(Address, ReadsAllFormsOfRfc4291) {
  EXPECT_EQ(Address::parse("192.0.2.1"), Address::v4(0xc0000201));
  EXPECT_EQ(Address::parse("::"), (Address{0, 0}));
  EXPECT_EQ(Address::parse("::1"), (Address{0, 1}));
  EXPECT_EQ(Address::parse("2001:DB8:0:0:8:800:200C:417A"), (Address{0x20010db800000000, 0x00080800200c417a}));
  EXPECT_EQ(Address::parse("1:2:3:4:5:6:7::"), (Address{0x0001000200030004, 0x0005000600070000}));
  EXPECT_EQ(Address::parse("::2:3:4:5:6:7:8"), (Address{0x0000000200030004, 0x0005000600070008}));
  EXPECT_EQ(Address::parse("64:ff9b::192.0.2.33"), (Address{0x0064ff9b00000000, 0xc0000221}));
}

TEST(Address, TextIsCanonical) {
  const std::pair<const char*, const char*> cases[] = {{"2001:0db8::0001", "2001:db8::1"},           {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
                                                       {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
                                                       {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},  {"2001:DB8::A", "2001:db8::a"},
                                                       {"0:0:0:0:0:0:0:0", "::"},                    {"1:0:0:0:0:0:0:0", "1::"}};
  for (const auto& [given, canonical] : cases) {
    const auto address = Address::parse(given);
    ASSERT_TRUE(address) << given;
    EXPECT_EQ(address->text(), canonical);
  }
}

// Ten thousand of each family: the C library writes, we read, and the other way round.
TEST(Address, AgreesWithTheCLibrary) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    uint8_t wire[16];
    const bool v4 = i % 2 == 0;
    for (uint8_t& byte : wire) byte = random() % 3 == 0 ? static_cast<uint8_t>(random()) : 0;  // zeros make gaps
    wire[0] |= 0x20;  // not in ::/96, where inet_ntop writes dotted forms
    char text[INET6_ADDRSTRLEN];
    ASSERT_TRUE(inet_ntop(v4 ? AF_INET : AF_INET6, wire, text, sizeof text));
    const auto read = Address::parse(text);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(read->text(), text);
    const auto ours = read->wire();
    EXPECT_EQ(memcmp(v4 ? ours.data() + 12 : ours.data(), wire, v4 ? 4 : 16), 0) << text;
    EXPECT_EQ(read->is_v4(), v4);
    if (!v4) {
      EXPECT_EQ(Address::v6(wire), *read);
    }
  }
}

TEST(Prefix, TellsWhatIsWrong) {
  EXPECT_EQ(problem("10.0.0.0/8"), PrefixError::none);
  EXPECT_EQ(problem("0.0.0.0/0"), PrefixError::none);
  EXPECT_EQ(problem("::/0"), PrefixError::none);
  EXPECT_EQ(problem("10.0.0.0/33"), PrefixError::length);
  EXPECT_EQ(problem("10.0.0.0/08"), PrefixError::length);
  EXPECT_EQ(problem("10.0.0.0/99999999999999999999"), PrefixError::length);
  EXPECT_EQ(problem("2001:db8::/129"), PrefixError::length);
  EXPECT_EQ(problem("10.0.0.0/"), PrefixError::syntax);
  EXPECT_EQ(problem("10.0.0.0/8 "), PrefixError::syntax);
  EXPECT_EQ(problem("10.0.0.0/-1"), PrefixError::syntax);
  EXPECT_EQ(problem("10.0.0.0/255.0.0.0"), PrefixError::syntax);
  EXPECT_EQ(problem("10.0.0/8"), PrefixError::syntax);
  EXPECT_EQ(problem("::ffff:10.0.0.0/104"), PrefixError::mapped);
  EXPECT_EQ(problem("::ffff:0:0/96"), PrefixError::mapped);
  const ParsedPrefix host = parse_prefix("10.1.2.3/8");
  EXPECT_EQ(host.error, PrefixError::host_bits);
  EXPECT_EQ(host.prefix.text(), "10.0.0.0/8");
  EXPECT_EQ(parse_prefix("2001:db8::1/32").prefix.text(), "2001:db8::/32");
}

TEST(Prefix, LengthsCountBitsOf128) {
  EXPECT_EQ(parse_prefix("10.0.0.0/8").prefix.length, 104);
  EXPECT_EQ(parse_prefix("10.0.0.1").prefix.length, 128);
  EXPECT_EQ(parse_prefix("0.0.0.0/0").prefix.length, 96);
  EXPECT_EQ(parse_prefix("2001:db8::/32").prefix.length, 32);
  EXPECT_EQ(parse_prefix("10.0.0.1/32").prefix.text(), "10.0.0.1");
  EXPECT_EQ(parse_prefix("0.0.0.0/0").prefix.text(), "0.0.0.0/0");
  EXPECT_EQ(parse_prefix("::/0").prefix.text(), "::/0");
}

TEST(Prefix, ContainsItsFamilyOnly) {
  const auto contains = [](const char* prefix, const char* address) { return parse_prefix(prefix).prefix.contains(*Address::parse(address)); };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.255.255"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(contains("0.0.0.0/0", "255.255.255.255"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
  EXPECT_TRUE(contains("::/0", "2001:db8::1"));
  EXPECT_FALSE(contains("::/0", "192.0.2.1"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::"));
}

}  // namespace
}  // namespace penstock
