#include "core/net/rate.h"

#include <gtest/gtest.h>

#include "features/limits/config.h"

namespace penstock {
namespace {

TEST(Rate, ReadsWhatPeopleWrite) {
  struct Case {
    const char* text;
    Rate rate;
  };
  for (const Case& c : {Case{"100/s", {Counted::packets, 100, 1}}, Case{"5/min", {Counted::packets, 5, 60}}, Case{"5/m", {Counted::packets, 5, 60}}, Case{"1000/h", {Counted::packets, 1000, 3600}},
                        Case{"1/day", {Counted::packets, 1, 86'400}}, Case{"10kpps", {Counted::packets, 10'000, 1}}, Case{"2Mpps", {Counted::packets, 2'000'000, 1}}, Case{"10k/s", {Counted::packets, 10'000, 1}},
                        Case{"50mbit", {Counted::bytes, 50'000'000, 1}}, Case{"50Mbit/s", {Counted::bytes, 50'000'000, 1}}, Case{"1gbit", {Counted::bytes, 1'000'000'000, 1}}, Case{"10kB/s", {Counted::bytes, 80'000, 1}}}) {
    const auto rate = parse_rate(c.text);
    ASSERT_TRUE(rate) << c.text;
    EXPECT_EQ(*rate, c.rate) << c.text;
    EXPECT_EQ(parse_rate(rate_text(*rate)), rate) << rate_text(*rate);
  }
  for (const char* text : {"", "5", "/s", "0/s", "-1/s", "1.5/s", "5/", "5/week", "5 /s", "101Mpps", "10mpps", "999bit", "2000gbit", "10kB", "10k", "99999999999999999999/s", "5/s5", "99999999999G/s"})
    EXPECT_FALSE(parse_rate(text)) << text;
}

TEST(Rate, TellsWhatAPacketOrAByteTakes) {
  EXPECT_EQ(parse_rate("100/s")->each(0), 10'000'000u);
  EXPECT_EQ(parse_rate("5/min")->each(0), 12'000'000'000u);
  EXPECT_EQ(parse_rate("3/s")->each(4), 5'333'333'333u);
  EXPECT_EQ(parse_rate("50mbit")->each(0), 160u);
  EXPECT_EQ(parse_rate("1000gbit")->each(20), 8389u) << "0.008 ns";
}

TEST(Rate, ReadsAmounts) {
  EXPECT_EQ(parse_amount("100"), (Amount{Counted::packets, 100}));
  EXPECT_EQ(parse_amount("10k"), (Amount{Counted::packets, 10'000}));
  EXPECT_EQ(parse_amount("64kB"), (Amount{Counted::bytes, 64'000}));
  for (const char* text : {"", "k", "10kb", "10 kB", "-1"}) EXPECT_FALSE(parse_amount(text)) << text;
}

TEST(Rate, HasADefaultBurst) {
  EXPECT_EQ(default_burst(*parse_rate("100/s")), 10u);
  EXPECT_EQ(default_burst(*parse_rate("5/s")), 1u);
  EXPECT_EQ(default_burst(*parse_rate("5/min")), 5u);
  EXPECT_EQ(default_burst(*parse_rate("50mbit")), 625'000u);
  EXPECT_EQ(default_burst(*parse_rate("100kbit")), 10'000u);
}

}  // namespace
}  // namespace penstock
