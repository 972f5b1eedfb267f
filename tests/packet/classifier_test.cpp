// Generated rule sets through the bytecode, against the plain first match.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/model/rule_sets.h"
#include "tests/packet/feed.h"

namespace penstock::packet_test {
namespace {

using namespace rule_sets;

// The bytes of a packet that parses to `d`; empty where none of at most 80 bytes does.
std::vector<uint8_t> frame_of(const ps_datagram& d) {
  const bool ipv4 = d.flags & PS_IPV4;
  const size_t transport = 14 + (ipv4 ? 20 : 40), end = transport + 20;
  const bool later = d.flags & PS_LATER_FRAGMENT;
  if (later && !ipv4) return {};
  if (!ipv4 && d.protocol != 6 && d.protocol != 17 && d.protocol != 58) return {};  // may be an extension header
  std::vector<uint8_t> f(end);
  const auto put = [&](size_t at, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) f[at + i] = static_cast<uint8_t>(value >> 8 * (size - 1 - i));
  };
  put(12, ipv4 ? 0x0800 : 0x86dd, 2);
  if (ipv4) {
    put(14, 0x45, 1);
    put(16, end - 14, 2);
    put(20, later ? 185 : 0, 2);
    put(22, 64, 1);
    put(23, d.protocol, 1);
  } else {
    put(14, 0x60, 1);
    put(18, 20, 2);
    put(20, d.protocol, 1);
    put(21, 64, 1);
  }
  for (int side = 0; side < 2; ++side) {
    if (ipv4) {
      put(26 + 4 * side, d.address[side].lo & 0xffffffff, 4);
    } else {
      put(22 + 16 * side, d.address[side].hi, 8);
      put(30 + 16 * side, d.address[side].lo, 8);
    }
    if (d.flags & PS_PORTS) put(transport + 2 * side, d.port[side], 2);
  }
  if (later) return f;
  if (d.protocol == 6) put(transport + 12, 0x50, 1);
  if (d.protocol == 17) put(transport + 4, 20, 2);
  return f;
}

uint64_t packets_wanted() {
  const char* text = std::getenv("PENSTOCK_CLASSIFIED_PACKETS");
  return text ? std::strtoull(text, nullptr, 0) : 2'000'000;
}

// Half of the packets at the edges of rules.  Adds how many were sent, and how many matched no rule.
struct Sent {
  uint64_t packets = 0, unmatched = 0;
};
void compare(const std::vector<ClassifierRule>& rules, Level level, uint64_t packets, Sent& total) {
  auto datapath = Datapath::load(config_of(rules), "a", {.level = level});
  ASSERT_TRUE(datapath) << datapath.error().message();
  auto feed = Feed::open(*datapath, level != Level::basic);
  ASSERT_TRUE(feed) << feed.error().message();
  std::map<uint32_t, long> rule_of;  // by slot
  for (const Slot& slot : datapath->slots())
    if (slot.reason == PS_REASON_RULE || slot.reason == PS_REASON_DEFAULT) rule_of[slot.number] = slot.rule.empty() ? -1 : std::stol(slot.rule.substr(1));

  Random random(rules.size());
  std::vector<feed_frame> frames;
  std::vector<ps_datagram> sent;
  for (uint64_t done = 0; done < packets; done += frames.size()) {
    frames.clear();
    sent.clear();
    for (size_t i = 0; frames.size() < std::min<uint64_t>(packets - done, FEED_FRAMES); ++i) {
      const ps_datagram packet = aim(rules[random() % rules.size()], i & 1, random);
      const auto bytes = frame_of(packet);
      if (bytes.empty()) continue;
      feed_frame& frame = frames.emplace_back();
      std::memcpy(&frame, bytes.data(), bytes.size());
      sent.push_back(packet);
    }
    const auto exits = feed->run(frames);
    ASSERT_TRUE(exits) << exits.error().message();
    for (size_t i = 0; i < sent.size(); ++i) {
      const long expected = first_match(rules, sent[i]);
      total.unmatched += expected < 0;
      ASSERT_EQ((*exits)[i].count, 1u);
      const auto found = rule_of.find((*exits)[i].slot);
      ASSERT_NE(found, rule_of.end()) << "slot " << (*exits)[i].slot;
      ASSERT_EQ(found->second, expected) << "packet " << done + i;
    }
    total.packets += sent.size();
  }
}

TEST(ClassifierBytecode, AgreesWithThePlainModel) {
  // Small sets are judged more often: a packet through the model takes as many steps as there are rules.
  constexpr struct {
    size_t rules, share;
  } sizes[] = {{10, 28}, {100, 28}, {1'000, 28}, {10'000, 13}, {100'000, 3}};
  constexpr size_t sets = 9;
  Sent total;
  for (const Family family : {Family::access_lists, Family::firewalls, Family::ip_chains})
    for (const Addresses addresses : {Addresses::ipv4, Addresses::ipv6, Addresses::mixed})
      for (const auto& [rules, share] : sizes) {
        SCOPED_TRACE(fmt::format("{} {} {}", name(family), name(addresses), rules));
        compare(generate(family, addresses, rules, rules), loadable_levels().front(), packets_wanted() * share / 100 / sets + 1, total);
        if (HasFatalFailure()) return;
      }
  fmt::print("  {} packets, {} of them matched no rule\n", total.packets, total.unmatched);
  EXPECT_GE(total.packets, packets_wanted());
  EXPECT_GT(total.unmatched, total.packets / 100);  // or a rule that matches too much would not be seen
}

// The same tables, other loops; and the counters and verdicts of each packet by itself.
TEST(ClassifierBytecode, AgreesAtEveryLevel) {
  Sent total;
  for (const Level level : loadable_levels())
    for (const size_t count : {5, 30, 1000, 10'000}) {
      SCOPED_TRACE(fmt::format("{} {}", level_name(level), count));
      const auto rules = generate(Family::firewalls, Addresses::mixed, count, count);
      compare(rules, level, 2000, total);
      if (HasFatalFailure()) return;
      auto datapath = Datapath::load(config_of(rules), "a", {.level = level});
      ASSERT_TRUE(datapath) << datapath.error().message();
      Random random(count);
      for (size_t i = 0; i < 200; ++i) {
        const ps_datagram packet = aim(rules[random() % rules.size()], i & 1, random);
        const auto frame = frame_of(packet);
        if (frame.empty()) continue;
        const long expected = first_match(rules, packet);
        const auto got = datapath->run(frame);
        ASSERT_TRUE(got) << got.error().message();
        ASSERT_FALSE(got->exits.empty());
        ASSERT_EQ(got->exits.back().rule, expected < 0 ? "" : fmt::format("r{}", expected)) << "packet " << i;
        const bool dropped = expected >= 0 && rules[static_cast<size_t>(expected)].rule.verdict == PS_DROP;
        ASSERT_EQ(got->verdict, dropped ? "drop" : "pass");
      }
    }
}

// Each position the only match, beyond what a list may have without may_goto, and one that never matches.
TEST(ClassifierBytecode, PositionsAreTheOnlyMatch) {
  constexpr size_t count = 100'000;
  std::vector<ClassifierRule> rules(count);
  for (size_t i = 0; i < count; ++i) {
    rules[i].prefix[PS_SOURCE] = Prefix{Address::v4(static_cast<uint32_t>(i)), 128};
    rules[i].rule.verdict = PS_DROP;
    for (int side = 0; side < 2; ++side) rules[i].rule.port_last[side] = 65535;
  }
  for (const Level level : loadable_levels()) {
    auto datapath = Datapath::load(config_of(rules), "a", {.level = level});
    ASSERT_TRUE(datapath) << datapath.error().message();
    for (const size_t position : {size_t{0}, size_t{1}, size_t{255}, size_t{256}, size_t{257}, size_t{65'535}, size_t{65'536}, count - 1, count}) {
      ps_datagram packet{};
      packet.flags = PS_IPV4;
      packet.protocol = 1;
      packet.address[PS_SOURCE] = {0, Address::v4(static_cast<uint32_t>(position)).lo};
      packet.address[PS_DESTINATION] = {0, Address::v4(1).lo};
      const auto got = datapath->run(frame_of(packet));
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(got->exits.back().rule, position < count ? fmt::format("r{}", position) : "");
    }
  }
}

}  // namespace
}  // namespace penstock::packet_test
