// The classifier's tables and lookup against the plain first match.
#include "tests/unit/classifier_native.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

namespace penstock::rule_sets {
namespace {

// Packets in all, half of them aimed at edges: PENSTOCK_PACKETS.
size_t packets_in_all() {
  const char* text = std::getenv("PENSTOCK_PACKETS");
  return text ? std::strtoull(text, nullptr, 10) : 2'000'000;
}

// Sends `packets` aimed at random rules through both; stops at the first difference.
void compare(const std::vector<ClassifierRule>& rules, const Sets& sets, size_t packets, uint64_t seed,
             size_t chain_max = classifier_chain_max) {
  const auto built = build_classifier(rules, chain_max);
  ASSERT_TRUE(built);
  native::load(*built, sets);
  Random random(seed);
  size_t matched = 0;
  for (size_t i = 0; i < packets; ++i) {
    const ps_datagram packet = aim(rules[random() % rules.size()], i & 1, random);
    const bool owned = random() & 1;
    const long expected = first_match(rules, packet, sets, owned);
    matched += expected >= 0;
    ASSERT_EQ(native::find(packet, owned), expected) << "packet " << i << ", seed " << seed << ", " << rules.size() << " rules";
  }
  EXPECT_GT(matched, packets / 3) << "the packets miss the rules";
}

struct Shape {
  Family family;
  Addresses addresses;
};
class Families : public testing::TestWithParam<Shape> {};
std::string shape_name(const testing::TestParamInfo<Shape>& info) {
  std::string text = fmt::format("{}_{}", name(info.param.family), name(info.param.addresses));
  for (char& c : text)
    if (c == ' ') c = '_';
  return text;
}

TEST_P(Families, AgreeWithThePlainModel) {
  const size_t all = packets_in_all() / 9;
  // The model costs time in proportion to the rules, so that most packets meet short lists.
  const struct {
    size_t rules, packets;
  } runs[] = {{1, all / 20}, {10, all / 4}, {25, all / 5}, {100, all / 4}, {1'000, all / 5}, {10'000, all / 50}, {100'000, all / 1000}};
  for (const auto& run : runs) {
    const auto rules = generate(GetParam().family, GetParam().addresses, run.rules, 1000 + run.rules);
    compare(rules, {}, run.packets, run.rules);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Classifier, Families,
                         testing::Values(Shape{Family::access_lists, Addresses::ipv4}, Shape{Family::access_lists, Addresses::ipv6},
                                         Shape{Family::access_lists, Addresses::mixed}, Shape{Family::firewalls, Addresses::ipv4},
                                         Shape{Family::firewalls, Addresses::ipv6}, Shape{Family::firewalls, Addresses::mixed},
                                         Shape{Family::ip_chains, Addresses::ipv4}, Shape{Family::ip_chains, Addresses::ipv6},
                                         Shape{Family::ip_chains, Addresses::mixed}),
                         shape_name);

// Each position is the only rule that matches its packet.
TEST(Classifier, PositionsAreTheOnlyMatch) {
  constexpr size_t count = 70'000;
  std::vector<ClassifierRule> rules(count);
  for (size_t i = 0; i < count; ++i) {
    rules[i].rule.verdict = PS_DROP;
    for (int side = 0; side < 2; ++side) rules[i].rule.port_last[side] = 65535;
    rules[i].prefix[PS_SOURCE] = Prefix{Address::v4(static_cast<uint32_t>(i)), 128};
  }
  const auto built = build_classifier(rules);
  ASSERT_TRUE(built);
  const Sets none;
  native::load(*built, none);
  for (const size_t position : {size_t{0}, size_t{1}, size_t{255}, size_t{256}, size_t{257}, size_t{65'535}, size_t{65'536}, count - 1, count}) {
    ps_datagram packet{};
    packet.flags = PS_IPV4;
    packet.address[PS_SOURCE] = {0, Address::v4(static_cast<uint32_t>(position)).lo};
    packet.address[PS_DESTINATION] = {0, Address::v4_mark};
    EXPECT_EQ(native::find(packet), position < count ? static_cast<long>(position) : -1);
  }
}

// A chain as long as the list: equal but for what only a residual test tells.
TEST(Classifier, LongChainsAreWalkedToTheEnd) {
  constexpr size_t count = 20'000;
  Sets sets(count);
  std::vector<ClassifierRule> rules(count);
  for (uint32_t i = 0; i < count; ++i) {
    sets[i] = {Prefix{Address::v4(i), 128}};
    rules[i].rule.flags = PS_RULE_FROM;
    rules[i].rule.set[PS_SOURCE] = i;
    for (int side = 0; side < 2; ++side) rules[i].rule.port_last[side] = 65535;
  }
  const auto built = build_classifier(rules);
  ASSERT_TRUE(built);
  EXPECT_EQ(built->longest_chain, count);
  native::load(*built, sets);
  for (const uint32_t position : {0u, 63u, 64u, 4095u, 4096u, 19'999u}) {
    ps_datagram packet{};
    packet.flags = PS_IPV4;
    packet.address[PS_SOURCE] = packet.address[PS_DESTINATION] = {0, Address::v4(position).lo};
    EXPECT_EQ(native::find(packet), static_cast<long>(position));
  }
}

// Sets, negation, skips and sockets, mixed with every other field.
TEST(Classifier, ResidualTestsAgreeWithThePlainModel) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    auto rules = generate(static_cast<Family>(seed % 3), Addresses::mixed, 20 + seed * 10, seed);
    Sets sets(5);
    for (size_t s = 1; s < sets.size(); ++s)  // the first stays empty
      for (int i = 0; i < 30; ++i)
        if (const auto& p = rules[random() % rules.size()].prefix[random() & 1]) sets[s].push_back(*p);
    size_t end = 0;  // of what a skip skips; another within it ends there, too
    for (size_t i = 0; i < rules.size(); ++i) {
      ps_rule& rule = rules[i].rule;
      for (int side = 0; side < 2; ++side) {
        if (random() % 3) continue;
        rules[i].prefix[side].reset();
        rule.flags |= side == PS_SOURCE ? PS_RULE_FROM : PS_RULE_TO;
        if (random() & 1) rule.flags |= side == PS_SOURCE ? PS_RULE_FROM_NEGATED : PS_RULE_TO_NEGATED;
        rule.set[side] = static_cast<uint32_t>(random() % sets.size());
      }
      if (random() % 10 == 0) {
        rule.flags |= PS_RULE_SOCKET;
        rule.needs |= PS_PORTS;
      }
      if (random() % 10 == 0) {
        rules[i] = {};
        rule.verdict = PS_RULE_SKIP;
        rule.flags = PS_RULE_FROM;
        rule.set[PS_SOURCE] = static_cast<uint32_t>(random() % sets.size());
        for (int side = 0; side < 2; ++side) rule.port_last[side] = 65535;
        rule.slot = static_cast<uint32_t>(random() % 5);
        if (i < end) rule.slot = static_cast<uint32_t>(end - i - 1);
        end = i + 1 + rule.slot;
      }
    }
    const auto built = build_classifier(rules);
    ASSERT_TRUE(built);
    native::load(*built, sets);
    for (int i = 0; i < 5000; ++i) {
      const ps_datagram packet = aim(rules[random() % rules.size()], i & 1, random);
      const bool owned = random() & 1;
      ASSERT_EQ(native::find(packet, owned), first_match(rules, packet, sets, owned)) << "seed " << seed;
    }
  }
}

// ::/0 is IPv6 alone, 0.0.0.0/0 IPv4 alone, also where the other family's addresses lie within.
TEST(Classifier, WholeFamiliesAreToldApart) {
  for (const size_t chain_max : {size_t{0}, classifier_chain_max}) {
    std::vector<ClassifierRule> rules(3);
    for (auto& r : rules)
      for (int side = 0; side < 2; ++side) r.rule.port_last[side] = 65535;
    rules[0].prefix[PS_SOURCE] = Prefix{{0, 0}, 0};
    rules[1].prefix[PS_DESTINATION] = Prefix{Address::v4(0), 96};
    const auto built = build_classifier(rules, chain_max);
    ASSERT_TRUE(built);
    const Sets none;
    native::load(*built, none);
    ps_datagram v4{}, v6{};
    v4.flags = PS_IPV4;
    v4.address[0] = v4.address[1] = {0, Address::v4(0x0a000001).lo};
    v6.flags = PS_IPV6;
    v6.address[0] = v6.address[1] = {0x20010db8'00000000ull, 1};
    EXPECT_EQ(native::find(v4), 1);
    EXPECT_EQ(native::find(v6), 0);
  }
}

TEST(Classifier, EmptyListsMatchNothing) {
  const auto built = build_classifier({});
  ASSERT_TRUE(built);
  const Sets none;
  native::load(*built, none);
  EXPECT_EQ(native::find({}), -1);
}

TEST(Classifier, TooManySkipsAreLeftToTheWalk) {
  std::vector<ClassifierRule> rules(PS_RESIDUAL_COUNT_MAX + 1);
  for (size_t i = 0; i + 1 < rules.size(); ++i) {
    rules[i].rule.verdict = PS_RULE_SKIP;
    rules[i].rule.slot = static_cast<uint32_t>(rules.size() - 1 - i);
  }
  EXPECT_FALSE(build_classifier(rules));
}

TEST(Classifier, SkipsThatCrossAreLeftToTheWalk) {
  std::vector<ClassifierRule> rules(4);
  for (size_t i = 0; i < 2; ++i) {
    rules[i].rule.verdict = PS_RULE_SKIP;
    rules[i].rule.slot = 2;
  }
  EXPECT_FALSE(build_classifier(rules));
  rules[1].rule.slot = 1;
  EXPECT_TRUE(build_classifier(rules));
}

// Figures, not limits: machines differ.
TEST(Classifier, BuildTimesAreReported) {
  for (const size_t count : {10'000u, 100'000u})
    for (const Family family : {Family::access_lists, Family::firewalls, Family::ip_chains}) {
      const auto rules = generate(family, Addresses::ipv4, count, 1);
      const auto start = std::chrono::steady_clock::now();
      const auto built = build_classifier(rules);
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      ASSERT_TRUE(built);
      EXPECT_LE(built->descriptor.tuples, PS_TUPLES_MAX);
      fmt::print("  {} {}: {:.0f} ms, {} tuples, {} KiB, longest chain {}\n", count, name(family), took.count(),
                 built->descriptor.tuples, built->lines.size() / 16, built->longest_chain);
    }
}

}  // namespace
}  // namespace penstock::rule_sets
