#include "features/policy/rule_check.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

namespace penstock {
namespace {

// The key of the map, for its place; the map where it is absent.
const Node& key_node(const Node& map, std::string_view key) {
  for (size_t i = 0; i < map.entries(); ++i)
    if (map.key(i).text == key) return map.key(i);
  return map;
}

const char* protocol_text(uint8_t proto) { return proto == IPPROTO_ICMPV6 ? "icmpv6" : "icmp"; }

bool check_flags(Decoder& d, const Node& node, Rule& rule) {
  if (rule.flags.any()) return true;
  if (rule.proto && *rule.proto != IPPROTO_TCP)
    return d.error(key_node(node, "flags"), "`flags` are those of TCP: this rule's protocol is another", "write `proto: tcp`, or remove one of the two");
  rule.proto = IPPROTO_TCP;
  return true;
}

bool check_icmp(Decoder& d, const Node& node, Rule& rule) {
  if (rule.icmp.kinds.empty()) return true;
  const Node& at = key_node(node, "icmp");
  if (rule.proto && *rule.proto != IPPROTO_ICMP && *rule.proto != IPPROTO_ICMPV6)
    return d.error(at, "`icmp` needs `proto: icmp` or `proto: icmpv6`: this rule's protocol is another", "remove one of the two");
  if (!rule.proto && rule.icmp.by_number)
    return d.error(at, "a type by number means one thing in ICMP and another in ICMPv6", "add `proto: icmp` or `proto: icmpv6`, or write its name");
  if (rule.proto) {
    const bool v6 = *rule.proto == IPPROTO_ICMPV6;
    std::erase_if(rule.icmp.kinds, [&](const IcmpKind& kind) { return kind.v6 != v6; });
    if (rule.icmp.kinds.empty())
      return d.error(at, fmt::format("no packet of `proto: {}` has such a type", protocol_text(*rule.proto)), fmt::format("write `proto: {}`, or leave it out", v6 ? "icmp" : "icmpv6"));
    return true;
  }
  const bool v6 = rule.icmp.kinds.front().v6;
  if (std::ranges::all_of(rule.icmp.kinds, [&](const IcmpKind& kind) { return kind.v6 == v6; })) rule.proto = static_cast<uint8_t>(v6 ? +IPPROTO_ICMPV6 : +IPPROTO_ICMP);
  return true;
}

bool check_ports(Decoder& d, const Node& node, const Rule& rule) {
  const auto asked = [](const PortMatch& match) { return !match.any() || !match.sets.empty(); };
  if ((!asked(rule.from_port) && !asked(rule.to_port)) || rule.proto == IPPROTO_TCP || rule.proto == IPPROTO_UDP) return true;
  const Node& at = key_node(node, asked(rule.to_port) ? "to-port" : "from-port");
  return d.error(at, fmt::format("`{}` needs `proto: tcp` or `proto: udp`", at.text), rule.proto || !rule.icmp.kinds.empty() ? "this protocol has no ports here" : "add the protocol to the rule");
}

// A later fragment carries none of what lies behind the IP header.
bool check_fragment(Decoder& d, const Node& node, const Rule& rule) {
  if (rule.fragment != FragmentMatch::later) return true;
  for (const char* key : {"to-port", "from-port", "flags", "icmp", "socket"}) {
    const Node& at = key_node(node, key);
    if (&at == &node || (at.text == "socket" && !rule.socket)) continue;
    return d.error(at, fmt::format("`{}` never matches a later fragment, which has no transport header", key),
                   "remove it, or `fragment: later`: a later fragment takes its first's verdict by itself");
  }
  return true;
}

bool check_audit(Decoder& d, const Node& node, const Rule& rule) {
  if (!rule.audit || rule.action == Action::drop || rule.action == Action::reject) return true;
  return d.error(key_node(node, "audit"), "`audit` says what a rule would drop: this one drops nothing", "to count and go on write `action: continue`");
}

}  // namespace

bool check_rule(Decoder& d, const Node& node, Rule& rule) {
  rule.limited = &key_node(node, "limit") != &node;
  bool good = check_flags(d, node, rule);
  good = check_icmp(d, node, rule) && good;
  good = good && check_ports(d, node, rule);  // the protocol may be wrong already
  good = check_fragment(d, node, rule) && good;
  return check_audit(d, node, rule) && good;
}

}  // namespace penstock
