// All of the language at once: it loads on every level, and counts by address.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "core/config/reader.h"
#include "core/kernel/bpf.h"
#include "core/net/packet_text.h"
#include "features/policy/tables.h"
#include "features/policy/talkers.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

constexpr uint32_t most_instructions = 500'000;

ps_policy_const policy_constants(const Config& config, size_t hook) {
  const auto image = compile(config);
  ps_policy_const out{};
  EXPECT_TRUE(image);
  if (image) std::memcpy(&out, image->hooks[hook].constants.at("policy_const").data(), sizeof out);
  return out;
}

TEST(Language, EverythingAtOnceLoads) {
  const auto config = load_config(PENSTOCK_SOURCE "/tests/packet/everything.yaml");
  ASSERT_TRUE(config) << config.error().message();
  // Nothing is missing: each kind of test and of consequence is compiled in.
  const ps_policy_const used = policy_constants(*config, 0);
  EXPECT_EQ(used.extras, (PS_EXTRA_INTERFACE << 1) - 1u);
  EXPECT_EQ(used.rule_flags, PS_RULE_PROTO | PS_RULE_FROM | PS_RULE_FROM_NEGATED | PS_RULE_TO | PS_RULE_TO_NEGATED | PS_RULE_SOCKET | PS_RULE_EXTRA);
  EXPECT_EQ(used.then & 0xf8, PS_THEN_LIMITED | PS_THEN_GO_ON | PS_THEN_COUNTS | PS_THEN_FRAGMENT);
  EXPECT_TRUE(used.rejects && used.fragments && used.classifiers && used.ports && used.asks_again);
  EXPECT_EQ(used.policy[0].classified, 1);
  EXPECT_EQ(used.policy[1].classified, 0);
  for (const Level level : loadable_levels()) {
    for (const bool quotes : {false, true}) {
      auto datapath = Datapath::load(*config, "a", {.level = level, .replay = false, .trace = false, .quotes = quotes});
      ASSERT_TRUE(datapath) << level_name(level) << ": " << datapath.error().message() << "\n"
                            << fmt::format("{}", fmt::join(datapath.error().diagnostics.front().detail, "\n"));
      const uint32_t count = datapath->verified_instructions().value_or(0);
      fmt::print("  everything, {}{}: {} instructions verified\n", level_name(level), quotes ? ", quotes read" : "", count);
      EXPECT_GT(count, 0u);
      EXPECT_LE(count, most_instructions) << level_name(level);
    }
  }
}

// And services of every mode and way, translation and the receiving end behind it.
TEST(Language, EverythingWithServicesLoads) {
  const std::string path = PENSTOCK_SOURCE "/tests/packet/everything.yaml";
  auto text = read_text(path);
  ASSERT_TRUE(text);
  const auto config = load_config_text(path, *text + R"(
receive: { decap: [ipip, gue], from: admins }
services:
  ipip: { frontend: [198.51.100.10:8443/tcp, "[2001:db8:f::10]:8443/tcp"], mss: 1300, from: [admins, 192.0.2.0/24], backends: { a: { address: 10.0.1.11 }, b: { address: "2001:db8:1::11" }, c: { address: local } } }
  gue: { frontend: [198.51.100.11:53/udp, 198.51.100.11:9000-9100/tcp], encap: gue, affinity: client, backends: { a: { address: 10.0.1.11 }, b: { address: "2001:db8:1::11" } } }
  spread: { frontend: 198.51.100.12:53/udp, outer-source: 10.9.0.0/16, scheduler: round-robin, backends: { a: { address: 10.0.1.11 } } }
  link: { frontend: 198.51.100.13/udp, encap: none, scheduler: random, on: a, backends: { a: { address: 10.0.1.11 } } }
  nat: { frontend: [198.51.100.14:8443/tcp, 198.51.100.14:53/udp], mode: nat, mss: 1300, backends: { a: { address: 10.0.1.11, port: 8080 } } }
  full: { frontend: "[2001:db8:f::15]:8443/tcp", mode: nat, source-nat: yes, backends: { a: { address: "2001:db8:1::11" } } }
)");
  ASSERT_TRUE(config) << config.error().message() << (config.error().diagnostics.empty() ? "" : config.error().diagnostics.front().hint);
  for (const Level level : loadable_levels()) {
    auto datapath = Datapath::load(*config, "a", {.level = level, .replay = false, .trace = false});
    ASSERT_TRUE(datapath) << level_name(level) << ": " << datapath.error().message() << "\n"
                          << fmt::format("{}", fmt::join(datapath.error().diagnostics.front().detail, "\n"));
    const uint32_t count = datapath->verified_instructions().value_or(0);
    fmt::print("  everything with services, {}: {} instructions verified\n", level_name(level), count);
    EXPECT_GT(count, 0u);
    EXPECT_LE(count, 600'000u) << level_name(level);
  }
}

std::vector<uint8_t> frame(const std::string& text) {
  auto packet = packet_from_text(text);
  EXPECT_TRUE(packet) << text;
  return packet ? *packet : std::vector<uint8_t>{};
}

TEST(Language, CountsByAddress) {
  const auto config = load_config_text("node.yaml", R"(version: 1
interfaces: { a: { match: dev0 } }
policies:
  p:
    attach: a.ingress
    rules:
      - { name: all, action: continue, count: per source }
      - { name: web, proto: tcp, to-port: 80, action: drop, count: per destination }
      - { name: dns, proto: udp, to-port: 53, action: reject, count: per source }
      - { name: other, action: accept }
)");
  ASSERT_TRUE(config) << config.error().message();
  stay_on_this_cpu();
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    auto datapath = Datapath::load(*config, "a", {.level = level});
    ASSERT_TRUE(datapath) << datapath.error().message();
    std::map<std::string, uint64_t> sources, destinations, resolvers, bytes;
    for (int n = 0; n < 300; ++n) {
      const std::string source = n % 3 ? fmt::format("192.0.2.{}", n % 7) : fmt::format("[2001:db8::{}]", n % 5);
      const std::string other = n % 3 ? fmt::format("198.51.100.{}", n % 4) : fmt::format("[2001:db8:1::{}]", n % 2);
      const bool web = n % 2;
      const auto packet = frame(fmt::format("{} {}:1000 > {}:{}", web ? "tcp" : "udp", source, other, web ? 80 : 53));
      ASSERT_TRUE(datapath->run(packet));
      const auto plain = [](std::string text) {
        std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
        return Address::parse(text)->text();
      };
      ++sources[plain(source)];
      bytes[plain(source)] += packet.size();
      if (web) ++destinations[plain(other)];
      if (!web) ++resolvers[plain(source)];
    }
    const auto counted = [&](const std::string& rule) {
      std::map<std::string, uint64_t> out;
      const auto found = read_talkers(datapath->map("policy_talkers"), datapath->slots_of(rule));
      EXPECT_TRUE(found);
      uint64_t before = UINT64_MAX;
      for (const Talker& t : *found) {
        EXPECT_LE(t.packets, before) << "the heaviest come first";
        before = t.packets;
        out[t.address.text()] = t.packets;
        if (rule == "all") {
          EXPECT_EQ(t.bytes, bytes[t.address.text()]);
        }
      }
      return out;
    };
    EXPECT_EQ(counted("all"), sources);
    EXPECT_EQ(counted("web"), destinations);
    EXPECT_EQ(counted("dns"), resolvers);
    EXPECT_TRUE(counted("other").empty());
    ASSERT_TRUE(forget_talkers(datapath->map("policy_talkers"), datapath->slots_of("web")));
    EXPECT_EQ(counted("web"), destinations);
    EXPECT_TRUE(counted("all").empty());
  }
}

// What nothing uses is not there.
TEST(Language, MapsOfAbsentMatchesAreLeftOut) {
  const auto config = load_config_text("node.yaml", R"(version: 1
interfaces: { a: { match: dev0 } }
policies: { p: { attach: a.ingress, rules: [{ name: a, from: 10.0.0.0/8, action: drop }] } }
)");
  ASSERT_TRUE(config) << config.error().message();
  for (const Level level : loadable_levels()) {
    auto datapath = Datapath::load(*config, "a", {.level = level});
    ASSERT_TRUE(datapath) << datapath.error().message();
    for (const char* map : {"policy_fragments", "policy_talkers", "answer_rate"}) EXPECT_LT(datapath->map(map), 0) << map;
  }
}

}  // namespace
}  // namespace penstock::packet_test
