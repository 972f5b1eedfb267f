// `penstock import`, from foreign text to a node's file: each expectation is written by hand.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "app/import/import.h"
#include "core/base/diagnostic.h"

namespace penstock::foreign {
namespace {

std::vector<std::string> rules_of(const std::string& yaml) {
  std::vector<std::string> out;
  for (size_t at = yaml.find("      - {"); at != yaml.npos; at = yaml.find("      - {", at + 1)) out.push_back(yaml.substr(at + 8, yaml.find('\n', at) - at - 8));
  return out;
}

Result<Imported> import_text(const std::string& format, const std::string& text, Options options = {}, const std::string& ipset = {}) {
  if (options.devices.empty()) options.devices = {"eth0"};
  std::vector<Source> ipsets;
  if (!ipset.empty()) ipsets.push_back({"sets", ipset});
  return import_rules(format, {{"f", text}}, ipsets, options);
}

// The rules of `lines` in the chain INPUT, without the one that lets IPv6 pass.
std::vector<std::string> iptables(const std::string& lines, Options options = {}, const std::string& ipset = {}, const std::string& chains = "", const std::string& policy = "DROP") {
  const auto imported = import_text("iptables-save", fmt::format("*filter\n:INPUT {} [0:0]\n:FORWARD ACCEPT [0:0]\n{}{}COMMIT\n", policy, chains, lines), options, ipset);
  if (!imported) return {render(imported.error(), false)};
  auto rules = rules_of(imported->yaml);
  if (rules.empty() || rules[0] != "{ name: ipv6, from: \"::/0\", action: accept }") return {"no rule for IPv6:\n" + imported->yaml};
  rules.erase(rules.begin());
  return rules;
}

std::vector<std::string> nft(const std::string& rule, const std::string& objects = "", Options options = {}) {
  const std::string text = R"({"nftables": [{"table": {"family": "inet", "name": "f"}}, {"chain": {"family": "inet", "table": "f", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},)" +
                           objects + R"({"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 7, "expr": )" + rule + "}}]}";
  const auto imported = import_text("nft-json", text, options);
  return imported ? rules_of(imported->yaml) : std::vector{render(imported.error(), false)};
}

using List = std::vector<std::string>;

TEST(Import, OneLineOfIptables) {
  const std::pair<const char*, List> cases[] = {
      {"-A INPUT -s 192.0.2.0/24 -j DROP", {"{ name: input-1, from: 192.0.2.0/24, action: drop }"}},
      {"-A INPUT ! -s 192.0.2.7/32 -j DROP", {"{ name: input-1, from: \"!192.0.2.7\", action: drop }"}},
      {"-A INPUT -s 192.0.2.9/255.255.255.0 -d 10.0.0.1 -j ACCEPT", {"{ name: input-1, from: 192.0.2.0/24, to: 10.0.0.1, action: accept }"}},
      {"-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", {"{ name: input-1, proto: tcp, to-port: 22, action: accept }"}},
      {"-A INPUT -p tcp -m tcp --sport 1024: --dport :80 -j ACCEPT", {"{ name: input-1, proto: tcp, from-port: 1024-65535, to-port: 0-80, action: accept }"}},
      {"-A INPUT -p udp -m udp ! --dport 53 -j DROP", {"{ name: input-1, proto: udp, to-port: \"!53\", action: drop }"}},
      {"-A INPUT -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT", {"{ name: input-1, proto: tcp, to-port: [80, 443, 8000-8100], action: accept }"}},
      {"-A INPUT -p tcp -m multiport --ports 22 -j ACCEPT",
       {"{ name: input-1, proto: tcp, from-port: 22, action: accept }", "{ name: input-1-2, proto: tcp, to-port: 22, action: accept }"}},
      {"-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.4 -j ACCEPT", {"{ name: input-1, from: [10.0.0.1, 10.0.0.2/31, 10.0.0.4], action: accept }"}},
      {"-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT", {"{ name: input-1, proto: icmp, icmp: 8, action: accept }"}},
      {"-A INPUT -p icmp -m icmp --icmp-type fragmentation-needed -j ACCEPT", {"{ name: input-1, proto: icmp, icmp: 3/4, action: accept }"}},
      {"-A INPUT -p icmp -m icmp --icmp-type any -j ACCEPT", {"{ name: input-1, proto: icmp, action: accept }"}},
      {"-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", {"{ name: input-1, proto: tcp, flags: syn, action: drop }"}},
      {"-A INPUT -p tcp -m tcp --syn -j DROP", {"{ name: input-1, proto: tcp, flags: syn, action: drop }"}},
      {"-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -j DROP", {"{ name: input-1, proto: tcp, flags: [syn, \"!ack\"], action: drop }"}},
      {"-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j DROP", {"{ name: input-1, proto: tcp, flags: [syn], action: drop }"}},
      {"-A INPUT -m ttl --ttl-lt 5 -j DROP", {"{ name: input-1, ttl: 0-4, action: drop }"}},
      {"-A INPUT -m dscp --dscp 0x2e -j DROP", {"{ name: input-1, dscp: 46, action: drop }"}},
      {"-A INPUT -m tos --tos 0xb8/0xfc -j DROP", {"{ name: input-1, dscp: 46, action: drop }"}},
      {"-A INPUT -m length --length 100:200 -j DROP", {"{ name: input-1, length: 100-200, action: drop }"}},
      {"-A INPUT -m mac ! --mac-source 02:00:00:00:00:0A -j DROP", {"{ name: input-1, mac: \"!02:00:00:00:00:0a\", action: drop }"}},
      {"-A INPUT -p gre -j ACCEPT", {"{ name: input-1, proto: gre, action: accept }"}},
      {"-A INPUT -p 89 -j REJECT --reject-with icmp-port-unreachable", {"{ name: input-1, proto: 89, action: reject }"}},
      {"-A INPUT -p tcp -j LOG --log-prefix \"-j DROP\"", {"{ name: input-1, proto: tcp, action: continue }"}},
      {"[12:345] -A INPUT --protocol=tcp --dport=22 -m comment --comment \"My \\\"SSH\\\"\" -j ACCEPT", {"{ name: my-ssh, proto: tcp, to-port: 22, action: accept }"}},
      // IPv4 in INPUT is whole again: no later fragment is ever seen there.
      {"-A INPUT -f -j DROP", {}},
      {"-A INPUT ! -f -j DROP", {"{ name: input-1, action: drop }"}},
      {"-A INPUT -i lo -j ACCEPT", {}},
      {"-A INPUT -i eth+ -j ACCEPT", {"{ name: input-1, action: accept }"}},
      {"-A INPUT ! -i eth0 -j ACCEPT", {}},
  };
  for (const auto& [line, expected] : cases) EXPECT_EQ(iptables(std::string(line) + "\n"), expected) << line;
}

TEST(Import, InterfacesWhereThereAreSeveral) {
  Options two;
  two.devices = {"eth0", "eth1", "wlan*"};
  EXPECT_EQ(iptables("-A INPUT -i eth0 -j ACCEPT\n-A INPUT ! -i eth0 -j DROP\n-A INPUT -i eth+ -p 47 -j ACCEPT\n", two),
            (List{"{ name: input-1, interface: eth0, action: accept }", "{ name: input-2, interface: [eth1, wlan], action: drop }", "{ name: input-3, interface: [eth0, eth1], proto: gre, action: accept }"}));
  const auto part = import_text("iptables-save", "*filter\n:INPUT DROP\n-A INPUT -i wlan0 -j ACCEPT\nCOMMIT\n", two);
  ASSERT_TRUE(part);
  ASSERT_EQ(part->flat.left.size(), 1u);
  EXPECT_TRUE(part->flat.left[0].counts);
}

TEST(Import, ChainsBecomeOneList) {
  const std::string chains = ":A - [0:0]\n:B - [0:0]\n";
  // The condition of a jump holds for all that is behind it.
  EXPECT_EQ(iptables("-A INPUT -p tcp -j A\n-A A -s 10.0.0.0/8 -j ACCEPT\n-A A -p udp -j ACCEPT\n-A A -j DROP\n", {}, "", chains),
            (List{"{ name: a-1, from: 10.0.0.0/8, proto: tcp, action: accept }", "{ name: a-3, proto: tcp, action: drop }"}));
  // RETURN by one simple condition is taken off the rest of its chain.
  EXPECT_EQ(iptables("-A INPUT -j A\n-A A -s 10.0.0.0/8 -j RETURN\n-A A -j DROP\n", {}, "", chains, "ACCEPT"), (List{"{ name: a-2, from: \"!10.0.0.0/8\", action: drop }"}));
  // By more than one: what becomes of its packets is told first.
  EXPECT_EQ(iptables("-A INPUT -j A\n-A INPUT -d 10.0.0.1 -j DROP\n-A A -p tcp --dport 22 -j RETURN\n-A A -j DROP\n", {}, "", chains, "ACCEPT"),
            (List{"{ name: input-2, to: 10.0.0.1, proto: tcp, to-port: 22, action: drop }", "{ name: a-1, proto: tcp, to-port: 22, action: accept }", "{ name: a-2, action: drop }",
                  "{ name: input-2-2, to: 10.0.0.1, action: drop }"}));
  // RETURN from INPUT itself is its policy; a goto does not come back.
  EXPECT_EQ(iptables("-A INPUT -p udp -j RETURN\n-A INPUT -p tcp -g A\n-A INPUT -j ACCEPT\n-A A -s 10.0.0.1 -j ACCEPT\n", {}, "", chains),
            (List{"{ name: input-1, proto: udp, action: drop }", "{ name: a-1, from: 10.0.0.1, proto: tcp, action: accept }", "{ name: input-2, proto: tcp, action: drop }", "{ name: input-3, action: accept }"}));
  // A goto from a chain comes back to where that chain was jumped from.
  EXPECT_EQ(iptables("-A INPUT -j A\n-A INPUT -p udp -j ACCEPT\n-A A -g B\n-A A -j DROP\n-A B -p tcp -j ACCEPT\n", {}, "", chains),
            (List{"{ name: b-1, proto: tcp, action: accept }", "{ name: input-2, proto: udp, action: accept }"}));
}

TEST(Import, NothingIsLostSilently) {
  const char* unsayable[] = {"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-m state --state INVALID -j DROP", "-m limit --limit 5/sec -j ACCEPT", "-m recent --update --seconds 60 -j DROP",
                             "-m set --match-set bad src -j DROP", "-m mark --mark 0x1 -j ACCEPT", "-m addrtype --dst-type LOCAL -j ACCEPT", "-m owner --uid-owner 0 -j ACCEPT", "-m rpfilter -j DROP",
                             "-m socket -j ACCEPT", "-m whatever --option 1 2 -j DROP", "-j MARK --set-xmark 0x1/0xffffffff", "-j NFQUEUE --queue-num 1", "-j WHATEVER", "-s example.org -j DROP",
                             "! -p tcp -j DROP", "-p sctp -m sctp --dport 1 -j DROP", "-p dccp --dport 1 -j DROP", "-m time --timestart 10:00 -j DROP", "-p tcp -m tcp --tcp-option 3 -j DROP",
                             "-m tos --tos 0x10 -j DROP", "-m conntrack --ctstate NEW -j A", "-g A -m limit --limit 1/sec", "-s 10.0.0.1/255.0.255.0 -j DROP"};
  for (const char* text : unsayable) {
    const auto imported = import_text("iptables-save", fmt::format("*filter\n:INPUT DROP\n:A -\n-A INPUT -p tcp -j ACCEPT\n-A INPUT {}\n-A INPUT -p udp -j ACCEPT\n-A A -s 10.0.0.1 -j DROP\nCOMMIT\n", text));
    ASSERT_TRUE(imported) << text;
    ASSERT_FALSE(imported->flat.left.empty()) << text << imported->yaml;
    const Left& left = imported->flat.left.front();
    EXPECT_EQ(left.place.line, 5u) << text;
    EXPECT_EQ(left.place.text, "-A INPUT " + std::string(text));
    EXPECT_FALSE(left.reason.empty());
    EXPECT_TRUE(left.counts);
    EXPECT_NE(imported->yaml.find("left out: f:5: -A INPUT "), std::string::npos) << imported->yaml;
    EXPECT_EQ(imported->flat.said + imported->flat.left.size(), imported->flat.lines) << text;
  }
}

TEST(Import, EffectOfWhatIsLeftOut) {
  const auto effect = [](const std::string& lines, const std::string& policy) {
    const auto imported = import_text("iptables-save", "*filter\n:INPUT " + policy + "\n" + lines + "COMMIT\n");
    return imported && !imported->flat.left.empty() ? imported->flat.left.front().effect : Effect::none;
  };
  const std::string accept = "-A INPUT -m limit --limit 1/s -j ACCEPT\n", drop = "-A INPUT -m limit --limit 1/s -j DROP\n";
  EXPECT_EQ(effect(accept, "DROP"), Effect::drops_more);
  EXPECT_EQ(effect(accept, "ACCEPT"), Effect::none);
  EXPECT_EQ(effect(accept + "-A INPUT -p tcp -j DROP\n", "ACCEPT"), Effect::drops_more);
  EXPECT_EQ(effect("-A INPUT -p tcp -j DROP\n" + accept, "ACCEPT"), Effect::none);
  EXPECT_EQ(effect(drop, "ACCEPT"), Effect::passes_more);
  EXPECT_EQ(effect(drop, "DROP"), Effect::none);
  EXPECT_EQ(effect("-A INPUT -m limit --limit 1/s -j LOG\n", "DROP"), Effect::none);
}

TEST(Import, StateNearlyOnlyWhereItIsAskedFor) {
  Options nearly;
  nearly.approximate_state = true;
  const std::string lines = "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n-A INPUT -m state --state INVALID -j DROP\n";
  EXPECT_EQ(iptables(lines), List{});
  EXPECT_EQ(iptables(lines, nearly),
            (List{"{ name: input-1, proto: tcp, flags: established, action: accept }", "{ name: input-1-2, proto: udp, socket: yes, action: accept }",
                  "{ name: input-1-3, proto: icmp, icmp: [0, 3, 11, 12], action: accept }", "{ name: input-2, proto: tcp, to-port: 22, action: accept }"}));
  const auto imported = import_text("iptables-save", "*filter\n:INPUT DROP\n" + lines + "COMMIT\n", nearly);
  ASSERT_TRUE(imported);
  EXPECT_EQ(imported->flat.left.size(), 1u);  // INVALID
  EXPECT_NE(imported->yaml.find("#   approximated: "), std::string::npos);
  size_t nearly_said = 0;
  for (const Entry& entry : imported->flat.policies.at(0).entries)
    if (!entry.approximation.empty()) nearly_said += entry.line->place.text.starts_with("-A INPUT ");
  EXPECT_EQ(nearly_said, 4u);
}

TEST(Import, BothFamiliesInOnePolicy) {
  Options one;
  one.devices = {"eth0"};
  const auto imported = import_rules("iptables-save",
                                     {{"rules.v4", "*filter\n:INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -s 10.0.0.1 -j ACCEPT\n-A INPUT -p udp -j DROP\nCOMMIT\n"},
                                      {"rules.v6", "*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT\n-A INPUT -p udp -j DROP\nCOMMIT\n"}},
                                     {}, one);
  ASSERT_TRUE(imported);
  EXPECT_EQ(rules_of(imported->yaml), (List{"{ name: input-1, proto: tcp, to-port: 22, action: accept }", "{ name: input-2, proto: icmpv6, icmp: 135, action: accept }",
                                            "{ name: input-2-2, from: 10.0.0.1, action: accept }", "{ name: input-3, proto: udp, action: drop }",
                                            "{ name: ipv6-policy, from: \"::/0\", action: accept }"}));
  EXPECT_NE(imported->yaml.find("default: drop"), std::string::npos);
}

TEST(Import, EarlierHooksAreEarlierPolicies) {
  const auto imported = import_text("iptables-save", "*filter\n:INPUT DROP\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n*raw\n:PREROUTING ACCEPT\n-A PREROUTING -s 10.0.0.1 -j DROP\nCOMMIT\n*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT\n"
                                                     "-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.2\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n");
  ASSERT_TRUE(imported);
  ASSERT_EQ(imported->flat.policies.size(), 2u);
  EXPECT_EQ(imported->flat.policies[0].name, "raw-prerouting");
  EXPECT_EQ(imported->flat.policies[1].name, "input");
  ASSERT_EQ(imported->flat.left.size(), 2u);
  EXPECT_TRUE(imported->flat.left[0].counts);    // DNAT changes what the other rules see
  EXPECT_FALSE(imported->flat.left[1].counts);   // what leaves
}

TEST(Import, ForwardSeesTheTtlOneLess) {
  Options forward;
  forward.chain = "FORWARD";
  const auto imported = import_text("iptables-save", "*filter\n:FORWARD DROP\n-A FORWARD -m ttl --ttl-eq 63 -j ACCEPT\n-A FORWARD -f -j ACCEPT\nCOMMIT\n", forward);
  ASSERT_TRUE(imported);
  const auto rules = rules_of(imported->yaml);
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules[1], "{ name: forward-1, ttl: 64, action: accept }");
  EXPECT_EQ(rules[2], "{ name: forward-2, fragment: later, action: accept }");
  forward.chain = "NOSUCH";
  EXPECT_FALSE(import_text("iptables-save", "*filter\n:FORWARD DROP\nCOMMIT\n", forward));
}

TEST(Import, SetsOfIpset) {
  const std::string sets = "create bad hash:net family inet hashsize 1024\nadd bad 192.0.2.0/24\nadd bad 203.0.113.7 timeout 60\ncreate empty hash:ip\ncreate pairs hash:ip,port\n";
  EXPECT_EQ(iptables("-A INPUT -m set --match-set bad src -j DROP\n-A INPUT -m set ! --match-set bad dst -j ACCEPT\n-A INPUT -m set --match-set empty src -j DROP\n", {}, sets),
            (List{"{ name: input-1, from: bad, action: drop }", "{ name: input-2, to: \"!bad\", action: accept }", "{ name: input-3, from: empty, action: drop }"}));
  EXPECT_EQ(iptables("-A INPUT -m set --match-set pairs src,dst -j DROP\n", {}, sets), List{});
}

TEST(Import, LongListsBecomeSets) {
  std::string source = "10.0.0.0";
  for (int i = 1; i < 20; ++i) source += fmt::format(",10.0.{}.0", i);
  const auto imported = import_text("iptables-save", "*filter\n:INPUT DROP\n-A INPUT -s " + source + " -j ACCEPT\nCOMMIT\n");
  ASSERT_TRUE(imported);
  EXPECT_EQ(rules_of(imported->yaml).back(), "{ name: input-1, from: input-1-from, action: accept }");
  EXPECT_NE(imported->yaml.find("  input-1-from: { prefixes: [\n"), std::string::npos) << imported->yaml;
}

TEST(Import, NamesAreValidAndUnique) {
  std::string lines;
  for (const char* name : {"web", "web", "WEB", "...", "ümläut", "a very long comment that goes on and on and on and on until nobody reads it any more", "web-2", "'quoted'"})
    lines += fmt::format("-A INPUT -p 47 -m comment --comment \"{}\" -j ACCEPT\n", name);
  std::set<std::string> seen;
  for (const std::string& rule : iptables(lines)) {
    const std::string name = rule.substr(8, rule.find(',') - 8);
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_LE(name.size(), 63u);
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_."), std::string::npos) << name;
    EXPECT_NE(std::string("-_.").find(name[0]), 0u) << name;
  }
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Import, ErrorsPointAtTheWord) {
  const std::tuple<const char*, uint32_t, uint32_t> cases[] = {
      {"-A INPUT -j DROP\n", 1, 1},
      {"*filter\n:INPUT DROP\n-A INPUT -p tcp --dport 99999 -j DROP\n", 3, 25},
      {"*filter\n:INPUT DROP\n-A INPUT -m comment --comment \"open -j DROP\n", 3, 31},
      {"*filter\n:INPUT DROP\n-A NOSUCH -j DROP\n", 3, 4},
      {"*filter\n:INPUT DROP\n-D INPUT -j DROP\n", 3, 1},
      {"*filter\n:INPUT SOMETIMES\n", 2, 8},
      {"*filter\n:INPUT DROP\n-A INPUT DROP\n", 3, 10},
      {"*filter\n:INPUT DROP\n-A INPUT -s\n", 3, 10},
      {"*filter\n:INPUT DROP\n-A INPUT -s 2001:db8::1 -j DROP\n", 3, 13},
      {"*filter\n:INPUT DROP\n-A INPUT ! ! -p tcp -j DROP\n", 3, 12},
      {"*filter\n:INPUT DROP\n-A INPUT -p tcp --tcp-flags SYN\n", 3, 29},
      {"*filter\n:INPUT DROP\n-A INPUT -m mac --mac-source 02:00 -j DROP\n", 3, 30},
      {"*filter\n:INPUT DROP\n-A INPUT -j ACCEPT -j DROP\n", 3, 20},
      {"*nosuch\n", 1, 1},
      {"*filter\n:INPUT DROP\n-A INPUT \xff\n", 3, 10},
      {"*filter\nCOMMIT\n*filter\n", 3, 1},
  };
  for (const auto& [text, line, column] : cases) {
    const auto imported = import_text("iptables-save", text);
    ASSERT_FALSE(imported) << text;
    EXPECT_EQ(imported.error().diagnostics[0].at.line, line) << text << imported.error().message();
    EXPECT_EQ(imported.error().diagnostics[0].at.column, column) << text << imported.error().message();
  }
  const auto loop = import_text("iptables-save", "*filter\n:INPUT DROP\n:A -\n-A INPUT -j A\n-A A -j A\nCOMMIT\n");
  ASSERT_FALSE(loop);
  EXPECT_NE(loop.error().message().find("A leads to itself"), std::string::npos);
}

TEST(Import, OneRuleOfNft) {
  const std::string dport = R"({"payload": {"protocol": "tcp", "field": "dport"}})", saddr = R"({"payload": {"protocol": "ip", "field": "saddr"}})";
  const auto match = [](const std::string& left, const std::string& right, const std::string& op = "==") { return fmt::format(R"({{"match": {{"op": "{}", "left": {}, "right": {}}}}})", op, left, right); };
  const std::string flags = R"({"payload": {"protocol": "tcp", "field": "flags"}})", proto = R"({"meta": {"key": "l4proto"}})", accept = R"({"accept": null})";
  const std::pair<std::string, List> cases[] = {
      {"[" + match(dport, "22") + ", " + accept + "]", {"{ name: in-1, proto: tcp, to-port: 22, action: accept }"}},
      {"[" + match(dport, R"({"set": [22, {"range": [80, 90]}]})") + R"(, {"counter": {"packets": 1, "bytes": 2}}, {"drop": null}])", {"{ name: in-1, proto: tcp, to-port: [22, 80-90], action: drop }"}},
      {"[" + match(dport, R"({"set": [1, 2]})", "!=") + ", " + accept + "]", {"{ name: in-1, proto: tcp, to-port: \"!1-2\", action: accept }"}},
      {"[" + match(saddr, R"({"prefix": {"addr": "10.0.0.0", "len": 8}})") + ", " + accept + "]", {"{ name: in-1, from: 10.0.0.0/8, action: accept }"}},
      {"[" + match(saddr, "\"10.0.0.1\"", "!=") + ", " + accept + "]", {"{ name: in-1, from: { not: [10.0.0.1, \"::/0\"] }, action: accept }"}},
      {"[" + match(R"({"meta": {"key": "nfproto"}})", "\"ipv6\"") + ", " + accept + "]", {"{ name: in-1, from: \"::/0\", action: accept }"}},
      {"[" + match(proto, R"({"set": ["tcp", "udp"]})") + ", " + match(R"({"payload": {"protocol": "th", "field": "dport"}})", "53") + ", " + accept + "]",
       {"{ name: in-1, proto: tcp, to-port: 53, action: accept }", "{ name: in-1-2, proto: udp, to-port: 53, action: accept }"}},
      {"[" + match(R"({"payload": {"protocol": "icmpv6", "field": "type"}})", R"({"set": ["echo-request", "nd-neighbor-solicit"]})") + ", " + accept + "]",
       {"{ name: in-1, proto: icmpv6, icmp: [128, 135], action: accept }"}},
      {"[" + match(flags, "\"syn\"", "in") + ", " + accept + "]", {"{ name: in-1, proto: tcp, flags: [syn], action: accept }"}},
      {"[" + match(R"({"&": [)" + flags + R"(, ["fin", "syn", "rst", "ack"]]})", "\"syn\"") + ", " + accept + "]", {"{ name: in-1, proto: tcp, flags: syn, action: accept }"}},
      {"[" + match(flags, R"(["fin", "syn"])", "!") + ", " + accept + "]", {"{ name: in-1, proto: tcp, flags: [\"!fin\", \"!syn\"], action: accept }"}},
      {"[" + match(R"({"payload": {"protocol": "ip", "field": "ttl"}})", "5", "<") + R"(, {"drop": null}])", {"{ name: in-1, from: 0.0.0.0/0, ttl: 0-4, action: drop }"}},
      {R"([{"vmap": {"key": )" + dport + R"(, "data": {"set": [[22, {"accept": null}], [{"range": [80, 90]}, {"drop": null}], ["*", {"continue": null}]]}}}])",
       {"{ name: in-1, proto: tcp, to-port: 22, action: accept }", "{ name: in-2, proto: tcp, to-port: 80-90, action: drop }", "{ name: in-3, proto: tcp, to-port: { not: [22, 80-90] }, action: continue }"}},
      {"[" + match(R"({"concat": [)" + saddr + ", " + dport + "]}", R"({"set": [{"concat": ["10.0.0.1", 22]}, {"concat": [{"prefix": {"addr": "10.1.0.0", "len": 16}}, {"range": [80, 90]}]}]})") + ", " + accept + "]",
       {"{ name: in-1, from: 10.0.0.1, proto: tcp, to-port: 22, action: accept }", "{ name: in-1-2, from: 10.1.0.0/16, proto: tcp, to-port: 80-90, action: accept }"}},
      {R"([{"reject": {"type": "tcp reset"}}])", {"{ name: in-1, action: reject }"}},
      {R"([{"log": {"prefix": "x"}}, {"drop": null}])", {"{ name: in-1, action: drop }"}},
      {R"([{"limit": {"rate": 5, "per": "second"}}, {"accept": null}])", {}},
      {R"([{"xt": {"type": "match", "name": "multiport"}}, {"accept": null}])", {}},
      {R"(["nonsense", 5, {"drop": null}])", {}},
  };
  for (const auto& [rule, expected] : cases) EXPECT_EQ(nft(rule), expected) << rule;
}

TEST(Import, SetsOfNft) {
  const std::string set = R"({"set": {"family": "inet", "name": "bad nets", "table": "f", "type": "ipv4_addr", "elem": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"elem": {"val": "192.0.2.1", "timeout": 60, "expires": 5}}]}},)";
  EXPECT_EQ(nft(R"([{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@bad nets"}}, {"drop": null}])", set), List{"{ name: in-1, from: bad-nets, action: drop }"});
  EXPECT_EQ(nft(R"([{"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@bad nets"}}, {"drop": null}])", set),
            List{"{ name: in-1, from: { not: [bad-nets, \"::/0\"] }, action: drop }"});
  const std::string map = R"({"map": {"family": "inet", "name": "m", "table": "f", "type": "inet_service", "map": "verdict", "elem": [[22, {"accept": null}]]}},)";
  EXPECT_EQ(nft(R"([{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": "@m"}}])", map), List{"{ name: in-1, proto: tcp, to-port: 22, action: accept }"});
}

// A set may be called what means something else where a set stands.
TEST(Import, NamesOfSets) {
  for (const auto& [name, expected] : {std::pair{"any", "set-any"}, {"10.0.0.1", "set-10-0-0-1"}, {"fe80", "fe80"}, {"_", "set"}, {"a.b", "set-a-b"}, {"42", "set-42"}}) {
    const std::string sets = fmt::format("create {} hash:ip\nadd {} 192.0.2.1\n", name, name);
    EXPECT_EQ(iptables(fmt::format("-A INPUT -m set --match-set {} src -j DROP\n", name), {}, sets), List{fmt::format("{{ name: input-1, from: {}, action: drop }}", expected)}) << name;
  }
}

TEST(Import, WhatIsNotJson) {
  for (const auto& [text, line, column] : {std::tuple{"", 1u, 1u}, {"{\"nftables\": [\n  nonsense]}", 2u, 4u}, {"{}", 1u, 1u}, {"[]", 1u, 1u}, {"{\"nftables\": 5}", 1u, 1u}}) {
    const auto imported = import_text("nft-json", text);
    ASSERT_FALSE(imported) << text;
    EXPECT_EQ(imported.error().diagnostics[0].at.line, line) << text;
    EXPECT_EQ(imported.error().diagnostics[0].at.column, column) << text;
  }
  EXPECT_FALSE(import_text("nft-json", std::string(100000, '[')));
}

TEST(Import, Ufw) {
  const auto imported = import_text("ufw",
                                    "*filter\n:ufw-user-input - [0:0]\n:ufw-user-limit - [0:0]\n:ufw-user-limit-accept - [0:0]\n### RULES ###\n"
                                    "### tuple ### allow any 53 0.0.0.0/0 any 10.1.0.0/16 in comment=646e732068657265\n-A ufw-user-input -p tcp --dport 53 -s 10.1.0.0/16 -j ACCEPT\n"
                                    "### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n"
                                    "-A ufw-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j ufw-user-limit\n"
                                    "-A ufw-user-input -p tcp --dport 22 -j ufw-user-limit-accept\n"
                                    "-A ufw-user-input -p tcp --dport 80 -j ACCEPT -m comment --comment 'dapp_Nginx%20HTTP'\n"
                                    "-A ufw-user-limit-accept -j ACCEPT\n-A ufw-user-limit -j REJECT\nCOMMIT\n");
  ASSERT_TRUE(imported) << render(imported.error(), false);
  EXPECT_EQ(rules_of(imported->yaml), (List{"{ name: ipv6, from: \"::/0\", action: accept }", "{ name: dns-here, from: 10.1.0.0/16, proto: tcp, to-port: 53, action: accept }",
                                            "{ name: ufw-user-limit-accept-1, proto: tcp, to-port: 22, action: accept }", "{ name: dapp_nginx-20http, proto: tcp, to-port: 80, action: accept }"}));
  EXPECT_NE(imported->yaml.find("default: drop"), std::string::npos);
  EXPECT_EQ(imported->flat.left.size(), 2u);
  EXPECT_FALSE(import_text("ufw", "*filter\n:INPUT DROP\nCOMMIT\n"));
}

TEST(Import, CommentsCannotLeaveTheirLine) {
  const auto imported = import_text("nft-json", R"({"nftables": [{"chain": {"family": "inet", "table": "f", "name": "in\n  evil: {}", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
    {"rule": {"family": "inet", "table": "f", "chain": "in\n  evil: {}", "handle": 1, "comment": "x\n- evil", "expr": [{"accept": null}]}}]})");
  ASSERT_TRUE(imported);
  EXPECT_EQ(imported->yaml.find("\n  evil"), std::string::npos) << imported->yaml;
  EXPECT_EQ(imported->yaml.find("\n- evil"), std::string::npos);
}

TEST(Ranges, AgreeWithPlainSets) {
  const Ranges a({{5, 9}, {1, 2}, {3, 3}, {20, 30}}), b({{2, 6}, {25, 25}, {40, 50}});
  for (unsigned v = 0; v <= 60; ++v) {
    const bool in_a = (v >= 1 && v <= 3) || (v >= 5 && v <= 9) || (v >= 20 && v <= 30), in_b = (v >= 2 && v <= 6) || v == 25 || (v >= 40 && v <= 50);
    EXPECT_EQ(a.contains(v), in_a) << v;
    EXPECT_EQ((a & b).contains(v), in_a && in_b) << v;
    EXPECT_EQ((a | b).contains(v), in_a || in_b) << v;
    EXPECT_EQ(a.without(b).contains(v), in_a && !in_b) << v;
    EXPECT_EQ(a.complement(60).contains(v), !in_a) << v;
  }
  EXPECT_EQ(Ranges(0, most_address).complement(most_address), Ranges());
  EXPECT_EQ(Ranges().complement(7), Ranges(0, 7));
}

TEST(Ranges, PrefixesOfAddresses) {
  const auto text = [](const Ranges& r) {
    std::string out;
    for (const Prefix& p : prefixes_of(r)) out += p.text() + " ";
    return out;
  };
  EXPECT_EQ(text(all_v4()), "0.0.0.0/0 ");
  EXPECT_EQ(text(all_v6()), "::/0 ");
  EXPECT_EQ(text(Ranges(0, most_address)), "0.0.0.0/0 ::/0 ");
  const Value ten = value_of(Address::v4(10u << 24));
  EXPECT_EQ(text(Ranges(ten + 1, ten + 4)), "10.0.0.1 10.0.0.2/31 10.0.0.4 ");
  EXPECT_EQ(text(Ranges(most_address, most_address)), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ");
  EXPECT_EQ(text(Ranges()), "");
}

}  // namespace
}  // namespace penstock::foreign
