// Rules that can never match: known ones, and generated policies against a plain model that tries every packet of a small
// world.
#include "features/policy/coverage.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <ctime>
#include <map>
#include <random>
#include <set>

#include "app/config.h"
#include "app/coverage.h"

namespace penstock {
namespace {

Config config_of(const std::string& rules, const std::string& sets = "") {
  auto config = load_config_text("node.yaml", "version: 1\ninterfaces:\n  wan: { match: eth0 }\n" + sets + "policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n" + rules);
  EXPECT_TRUE(config) << config.error().message();
  return config ? std::move(*config) : Config{};
}

Coverage coverage_of(const Config& config) {
  return find_coverage(config.policies.at(0), [&](const std::string& name) -> const std::vector<Prefix>* {
    for (const Set& set : config.sets)
      if (set.name == name) return &set.prefixes;
    return nullptr;
  });
}

// "web<ssh,all" for each rule that can never match, "=" behind those that hold only as the sets stand.
std::string never_of(const std::string& rules, const std::string& sets = "") {
  const Config config = config_of(rules, sets);
  std::string out;
  for (const NeverMatches& n : coverage_of(config).never) {
    out += (out.empty() ? "" : " ") + n.rule->name + "<";
    for (const Rule* r : n.by) out += (r == n.by.front() ? "" : ",") + r->name;
    if (n.as_sets_stand) out += "=";
  }
  return out;
}

TEST(Coverage, OneRuleCoversAnother) {
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, from: 10.1.0.0/16, proto: tcp, to-port: 22, action: accept }\n"), "b<a");
  EXPECT_EQ(never_of("      - { name: a, action: drop }\n      - { name: b, from: \"::/0\", action: accept }\n"), "b<a");
  EXPECT_EQ(never_of("      - { name: a, proto: tcp, to-port: \"1-1023\", action: drop }\n      - { name: b, proto: tcp, to-port: [22, 80], action: drop }\n"), "b<a");
  EXPECT_EQ(never_of("      - { name: a, from: { not: 10.0.0.0/8 }, action: drop }\n      - { name: b, from: [192.0.2.0/24, \"2001:db8::/32\"], action: drop }\n"), "b<a");
}

TEST(Coverage, WhatIsNotCoveredIsNotReported) {
  // Later fragments carry no ports: the rule without ports still matches them.
  EXPECT_EQ(never_of("      - { name: a, proto: tcp, to-port: \"0-65535\", action: drop }\n      - { name: b, proto: tcp, action: accept }\n"), "");
  EXPECT_EQ(never_of("      - { name: a, from: 0.0.0.0/0, action: drop }\n      - { name: b, proto: tcp, action: accept }\n"), "");
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/9, action: drop }\n      - { name: b, from: 10.0.0.0/8, action: accept }\n"), "");
  EXPECT_EQ(never_of("      - { name: a, socket: yes, action: drop }\n      - { name: b, proto: tcp, to-port: 1, action: accept }\n"), "");
  EXPECT_EQ(never_of("      - { name: a, from: \"!10.0.0.0/8\", action: drop }\n      - { name: b, from: 8.0.0.0/6, action: accept }\n"), "");
}

TEST(Coverage, OtherKeysCountOnlyWhenTheyAreTheSame) {
  const std::string all = "      - { name: a, proto: tcp, action: drop }\n", drop = ", action: drop }\n";
  EXPECT_EQ(never_of(all + "      - { name: b, flags: syn" + drop), "b<a");
  EXPECT_EQ(never_of("      - { name: a, flags: syn" + drop + "      - { name: b, proto: tcp, action: accept }\n"), "");
  EXPECT_EQ(never_of("      - { name: a, flags: syn" + drop + "      - { name: b, flags: syn, to-port: 22, action: accept }\n"), "b<a");
  EXPECT_EQ(never_of("      - { name: a, flags: syn" + drop + "      - { name: b, flags: established, to-port: 22, action: accept }\n"), "");
  for (const char* key : {"icmp: echo-request", "vlan: 10", "dscp: ef", "ttl: 1", "length: \"0-100\"", "fragment: later", "options: present", "mac: \"02:00:00:00:00:01\"", "interface: wan", "socket: yes"}) {
    const std::string a = fmt::format("      - {{ name: a, {}", key) + drop, b = fmt::format("      - {{ name: b, {}", key) + drop;
    EXPECT_EQ(never_of(a + "      - { name: b, from: 10.0.0.0/8" + drop), "") << key;
    EXPECT_EQ(never_of("      - { name: a" + drop + b), "b<a") << key;
    EXPECT_EQ(never_of(a + b), "b<a") << key;
  }
  // What goes on is no end for a packet.
  EXPECT_EQ(never_of("      - { name: a, action: continue }\n      - { name: b, from: 10.0.0.0/8" + drop), "");
  EXPECT_EQ(never_of("      - { name: a, audit: true" + drop + "      - { name: b, from: 10.0.0.0/8" + drop), "");
  EXPECT_EQ(never_of("      - { name: a" + drop + "      - { name: b, from: 10.0.0.0/8, action: continue }\n"), "b<a");
}

TEST(Coverage, SeveralRulesTogether) {
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/9, action: drop }\n      - { name: b, from: 10.128.0.0/9, action: accept }\n      - { name: c, from: 10.0.0.0/8, action: accept }\n"), "c<a,b");
  EXPECT_EQ(never_of("      - { name: a, proto: tcp, to-port: \"0-100\", action: drop }\n      - { name: x, proto: udp, action: drop }\n"
                     "      - { name: b, proto: tcp, to-port: \"90-65535\", action: drop }\n      - { name: c, proto: tcp, to-port: \"50-200\", action: accept }\n"), "c<a,b");
  EXPECT_EQ(never_of("      - { name: a, from: 0.0.0.0/0, action: drop }\n      - { name: b, from: \"::/0\", action: drop }\n      - { name: c, proto: tcp, to-port: 1, action: accept }\n"), "c<a,b");
  // Of the left half the upper ports, of the right the lower: nothing is left only where both halves have both.
  const std::string three = "      - { name: a, from: 10.0.0.0/9, proto: tcp, to-port: \"0-99\", action: drop }\n      - { name: b, from: 10.0.0.0/9, proto: tcp, to-port: \"100-65535\", action: drop }\n"
                            "      - { name: c, from: 10.128.0.0/9, proto: tcp, to-port: \"0-99\", action: drop }\n";
  const std::string last = "      - { name: z, from: 10.0.0.0/8, proto: tcp, to-port: \"0-65535\", action: accept }\n";
  EXPECT_EQ(never_of(three + last), "");
  EXPECT_EQ(never_of(three + "      - { name: d, from: 10.128.0.0/9, proto: tcp, to-port: \"100-65535\", action: drop }\n" + last), "z<a,b,c,d");
}

TEST(Coverage, ContradictionsMatchNothing) {
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/8, to: \"2001:db8::/32\", action: drop }\n"), "a<");
  EXPECT_EQ(never_of("      - { name: a, from: \"2001:db8::/32\", proto: icmp, action: drop }\n"), "a<");
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/8, proto: icmpv6, action: drop }\n"), "a<");
}

TEST(Coverage, SetsCountAsTheyStand) {
  const std::string sets = "sets:\n  one: { prefixes: [10.1.0.0/16, 10.2.0.0/16] }\n  later: { prefixes: [] }\n";
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, from: one, action: accept }\n", sets), "b<a=");
  EXPECT_EQ(never_of("      - { name: a, from: one, action: drop }\n      - { name: b, from: one, proto: tcp, action: accept }\n", sets), "b<a");
  EXPECT_EQ(never_of("      - { name: a, from: one, action: drop }\n      - { name: b, from: 10.2.3.0/24, action: accept }\n", sets), "b<a");
  EXPECT_EQ(never_of("      - { name: a, from: \"!one\", action: drop }\n      - { name: b, from: 10.3.0.0/16, action: accept }\n", sets), "b<a=");
  EXPECT_EQ(never_of("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, from: later, action: accept }\n", sets), "");
  EXPECT_EQ(never_of("      - { name: a, from: later, action: drop }\n      - { name: b, from: later, action: accept }\n", sets), "");
}

TEST(Coverage, OrderDecidesBetweenRulesThatOverlapOnly) {
  const auto pairs = [](const std::string& rules) {
    std::string out;
    const Config config = config_of(rules);
    for (const OrderDecides& p : coverage_of(config).pairs) out += p.first->name + p.second->name + " ";
    return out;
  };
  EXPECT_EQ(pairs("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, to: 192.0.2.0/24, action: accept }\n"), "ab ");
  EXPECT_EQ(pairs("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, to: 192.0.2.0/24, action: drop }\n"), "");
  EXPECT_EQ(pairs("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, action: accept }\n"), "") << "an exception";
  EXPECT_EQ(pairs("      - { name: a, from: 10.0.0.0/8, action: drop }\n      - { name: b, from: 11.0.0.0/8, action: accept }\n"), "");
}

TEST(Coverage, MessagesNameRulesAndPlaces) {
  const Config config = config_of("      - { name: a, from: 10.0.0.0/9, action: drop }\n      - { name: b, from: 10.128.0.0/9, action: drop }\n      - { name: c, from: 10.0.0.0/8, action: accept }\n");
  const RuleFindings findings = find_rule_findings(config);
  ASSERT_EQ(findings.warnings.size(), 1u);
  EXPECT_EQ(findings.warnings[0].message, "the rule edge/c can never match: together `a` (node.yaml:8:9) and `b` (node.yaml:9:9) match before it all that it does");
  EXPECT_EQ(findings.warnings[0].at.line, 10u);
  EXPECT_EQ(findings.warnings[0].hint, "move it to the front, or remove it");
}

// A packet of the small world.  The last address of either family stands for all that no rule names, the one before for
// those that only wide prefixes hold, the last port for all others.
struct Point {
  bool v6;
  unsigned source, destination, source_port, destination_port, protocol;
  bool later, owned;
};
constexpr unsigned addresses = 6, ports = 4;
constexpr uint8_t protocols[] = {1, 6, 17, 58, 200};

Address address(bool v6, unsigned n) {
  if (n == addresses - 1) return v6 ? Address{0xfd00'0000'0000'0000, 0} : Address::v4(0xc0000000);
  if (n == addresses - 2) n = 99;
  return v6 ? Address{0x2001'0db8'0000'0000, n} : Address::v4(0x0a000000 + n);
}

bool model_matches(const AddressMatch& m, const Config& config, const Address& a) {
  bool found = m.any;
  for (const Prefix& p : m.prefixes) found = found || p.contains(a);
  for (const std::string& name : m.sets)
    for (const Set& set : config.sets)
      if (set.name == name)
        for (const Prefix& p : set.prefixes) found = found || p.contains(a);
  return found != m.negate;
}

bool model_matches(const PortMatch& m, unsigned n, bool known) {
  if (m.any()) return true;
  if (!known) return false;
  const unsigned port = n == ports - 1 ? 9000 : n;
  bool found = false;
  for (const PortRange& r : m.ranges) found = found || (r.first <= port && port <= r.last);
  return found != m.negate;
}

bool model_matches(const Rule& rule, const Config& config, const Point& p) {
  const bool known = !p.later && (p.protocol == 6 || p.protocol == 17);
  if (rule.proto && *rule.proto != p.protocol) return false;
  if (rule.proto && ((*rule.proto == 1 && p.v6) || (*rule.proto == 58 && !p.v6))) return false;
  if (rule.socket && !(known && p.owned)) return false;
  return model_matches(rule.from, config, address(p.v6, p.source)) && model_matches(rule.to, config, address(p.v6, p.destination)) &&
         model_matches(rule.from_port, p.source_port, known) && model_matches(rule.to_port, p.destination_port, known);
}

// Every packet of the small world.
std::vector<Point> world() {
  std::vector<Point> out;
  for (const bool v6 : {false, true})
    for (unsigned s = 0; s < addresses; ++s)
      for (unsigned d = 0; d < addresses; ++d)
        for (unsigned sp = 0; sp < ports; ++sp)
          for (unsigned dp = 0; dp < ports; ++dp)
            for (const uint8_t proto : protocols)
              for (const bool later : {false, true})
                for (const bool owned : {false, true}) {
                  const bool has_ports = !later && (proto == 6 || proto == 17);
                  if (!has_ports && (sp || dp || owned)) continue;
                  out.push_back({v6, s, d, sp, dp, proto, later, owned});
                }
  return out;
}

class Policies {
 public:
  explicit Policies(uint32_t seed) : random_(seed) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

  std::string address_text() {
    static constexpr const char* words[] = {"any", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "\"::/0\"", "\"2001:db8::/126\"",
                                            "\"2001:db8::2\"", "[10.0.0.0/31, \"2001:db8::/127\"]", "{ not: 10.0.0.0/31 }", "{ not: [10.0.0.0/8, \"::/0\"] }", "some", "\"!some\"", "none"};
    return words[below(2) ? 0 : below(std::size(words))];
  }
  std::string ports_text(bool& any) {
    static constexpr const char* words[] = {"0", "\"0-1\"", "[0, 2]", "\"1-65535\"", "{ not: 1 }", "\"0-65535\"", "\"2-65535\""};
    any = below(2);
    return words[below(std::size(words))];
  }
  std::string rules(unsigned count) {
    std::string out;
    for (unsigned i = 0; i < count; ++i) {
      out += fmt::format("      - {{ name: r{}", i);
      if (const std::string from = address_text(); from != "any") out += ", from: " + from;
      if (const std::string to = address_text(); to != "any") out += ", to: " + to;
      const unsigned proto = below(6);
      static constexpr const char* names[] = {"tcp", "udp", "tcp", "icmp", "icmpv6"};
      if (proto < 5 && below(3)) out += fmt::format(", proto: {}", names[proto]);
      if (out.ends_with("tcp") || out.ends_with("udp")) {
        bool any = false;
        std::string text = ports_text(any);
        if (!any) out += ", to-port: " + text;
        text = ports_text(any);
        if (!any && below(2)) out += ", from-port: " + text;
      }
      if (below(12) == 0) out += ", socket: yes";
      out += fmt::format(", action: {} }}\n", below(2) ? "accept" : "drop");
    }
    return out;
  }

 private:
  std::mt19937 random_;
};

TEST(Coverage, NoFalseAlarmAndNoShadowOfOneRuleMissed) {
  const std::vector<Point> points = world();
  const std::string sets = "sets:\n  some: { prefixes: [10.0.0.1, 10.0.0.3, \"2001:db8::/127\"] }\n  none: { prefixes: [] }\n";
  size_t found = 0, together = 0, missed = 0, single = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    Policies generator(seed);
    const std::string rules = generator.rules(4 + generator.below(10));
    const Config config = config_of(rules, sets);
    const auto& list = config.policies.at(0).rules;
    const Coverage coverage = coverage_of(config);
    std::map<const Rule*, const NeverMatches*> never;
    for (const NeverMatches& n : coverage.never) never[n.rule] = &n;
    std::vector<std::vector<bool>> matched(list.size(), std::vector<bool>(points.size()));
    for (size_t i = 0; i < list.size(); ++i)
      for (size_t k = 0; k < points.size(); ++k) matched[i][k] = model_matches(list[i], config, points[k]);
    for (size_t i = 0; i < list.size(); ++i) {
      bool reached = false, any = false, by_one = false;
      for (size_t k = 0; k < points.size(); ++k) {
        if (!matched[i][k]) continue;
        any = true;
        bool before = false;
        for (size_t j = 0; j < i; ++j) before = before || matched[j][k];
        reached = reached || !before;
      }
      for (size_t j = 0; j < i && any; ++j) {
        bool all = true;
        for (size_t k = 0; k < points.size(); ++k) all = all && (!matched[i][k] || matched[j][k]);
        by_one = by_one || all;
      }
      const bool names_empty = list[i].from.sets == std::vector<std::string>{"none"} || list[i].to.sets == std::vector<std::string>{"none"};
      const auto reported = never.find(&list[i]);
      if (reported == never.end()) {
        if (names_empty) continue;
        // What a socket owns is no factor: the rule `proto: tcp` covers it, but the world has no TCP packet beyond.
        EXPECT_FALSE(by_one && !list[i].socket) << "seed " << seed << ": " << list[i].name << " is covered by one rule\n" << rules;
        missed += !reached;
        continue;
      }
      ++found;
      single += reported->second->by.size() == 1;
      together += reported->second->by.size() > 1;
      ASSERT_FALSE(reached) << "seed " << seed << ": " << list[i].name << " does match\n" << rules;
      // Those that are named do cover it.
      for (size_t k = 0; k < points.size(); ++k) {
        if (!matched[i][k]) continue;
        bool by = false;
        for (const Rule* r : reported->second->by) by = by || matched[static_cast<size_t>(r - list.data())][k];
        ASSERT_TRUE(by) << "seed " << seed << ": " << list[i].name << " is not covered by those named\n" << rules;
      }
    }
  }
  fmt::print("  {} rules that never match: {} by one rule, {} by several; {} were not found\n", found + missed, single, together, missed);
  EXPECT_GT(single, 200u);
  EXPECT_GT(together, 20u);
  EXPECT_LT(missed, found / 10);
}

// Rule sets of 10,000: what real ones look like (few shadows), and the worst case, where every rule meets every other.
TEST(Coverage, TenThousandRulesWithinTwoSeconds) {
  std::mt19937 random(7);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (const bool worst : {false, true}) {
    Policy policy;
    policy.name = "edge";
    for (int i = 0; i < 10'000; ++i) {
      Rule r;
      r.name = fmt::format("r{}", i);
      const auto prefix = [&](unsigned length) {
        const Address mask = Prefix::mask(length + 96);
        const Address a = Address::v4(0x0a000000 | below(1 << 24));
        return AddressMatch{.any = false, .negate = false, .prefixes = {{{a.hi & mask.hi, a.lo & mask.lo}, static_cast<uint8_t>(length + 96)}}, .sets = {}};
      };
      if (!worst || i % 2) r.from = prefix(worst ? 9 + below(3) : 16 + below(17));
      if (!worst || i % 2 == 0) r.to = prefix(worst ? 9 + below(3) : 16 + below(17));
      r.proto = below(2) ? 6 : 17;
      const uint16_t first = static_cast<uint16_t>(below(60'000));
      r.to_port.ranges = {{first, static_cast<uint16_t>(first + below(worst ? 5'000 : 10))}};
      r.action = below(2) ? Action::accept : Action::drop;
      policy.rules.push_back(std::move(r));
    }
    const std::clock_t start = std::clock();  // processor time: the machine may be busy
    const Coverage coverage = find_coverage(policy, [](const std::string&) { return nullptr; });
    const long took = (std::clock() - start) * 1000 / CLOCKS_PER_SEC;
    fmt::print("  10,000 rules, {}: {} ms, {} never match, {} pairs\n", worst ? "all alike" : "access lists", took, coverage.never.size(), coverage.pair_count);
    EXPECT_EQ(coverage.compared, policy.rules.size());
    EXPECT_LT(took, 2000);
  }
}

}  // namespace
}  // namespace penstock
