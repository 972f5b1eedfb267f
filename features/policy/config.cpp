#include "features/policy/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "features/policy/decode.h"
#include "features/policy/matches.h"
#include "features/policy/rule_check.h"

namespace penstock {
namespace {

const std::vector<std::string> unbuilt_hooks = {"egress", "forward", "socket", "connect", "bind"};

// `wan.ingress`: an interface and its hook.
Type<Attach> attach_type() {
  return {{"INTERFACE.ingress", {{"type", "string"}, {"pattern", "\\.ingress$"}}}, [](Decoder& d, const Node& node, Attach& out) {
            if (!expect_scalar(d, node, "an interface and its hook, as in `wan.ingress`")) return false;
            const size_t dot = node.text.rfind('.');
            const std::string hook = dot == std::string::npos ? "" : node.text.substr(dot + 1);
            if (std::ranges::find(unbuilt_hooks, hook) != unbuilt_hooks.end())
              return d.error(node, fmt::format("the hook `{}` is not built yet in this version", hook), "attach to `ingress`");
            if (hook != "ingress")
              return d.error(node, fmt::format("`{}` names no hook of an interface", node.text), fmt::format("write `{}.ingress`", node.text.substr(0, dot)));
            out.interface = node.text.substr(0, dot);
            out.at = d.at(node);
            d.refer("interface", out.interface, node);
            return true;
          }};
}

Type<Action> rule_action_type() {
  return one_of<Action>({{Action::accept, {"accept", "let the packet go on to the next policy, behind the last to the host"}},
                         {Action::drop, {"drop", "drop it"}},
                         {Action::reject, {"reject", "drop it and say so: TCP gets a reset, UDP port unreachable, all else administratively prohibited"}},
                         {Action::continue_, {"continue", "count it, and go on with the next rule"}}},
                        {"redirect", "mark", "mirror", "count", "limit", "ban", "syn-proxy"});
}

Type<Action> default_action_type() {
  return one_of<Action>({{Action::accept, {"accept", "let the packet go on"}}, {Action::drop, {"drop", "drop it"}}});
}

Keys<Rule> rule_keys(const std::vector<Extension>& extensions) {
  return Keys<Rule>("rule", "What a rule names must all match; the first rule that matches decides.  A rule that names nothing matches every packet.")
      .required("name", name_type("rule"), &Rule::name, {"Unique in its policy.  Counters belong to POLICY/NAME and survive every change but that of the name.", "web"})
      .optional("from", address_match_type(), &Rule::from, "any",
                {"The source address.  `\"!x\"` (in quotes) and `{ not: x }` negate; with a list the negation applies to the whole.", "{ not: [192.0.2.0/24, \"2001:db8::/32\"] }"})
      .optional("to", address_match_type(), &Rule::to, "any", {"The destination address, written like `from`.", "198.51.100.0/24"})
      .optional("proto", proto_type(), &Rule::proto, {"The protocol above IP, after any IPv6 extension headers.", "tcp"})
      .optional("from-port", port_match_type(), &Rule::from_port, {"The source port; only with `proto: tcp` or `udp`.  Numbers, ranges and sets of ports.  A later fragment carries no ports and never matches by itself: it takes its first's verdict.", "\"1024-65535\""})
      .optional("to-port", port_match_type(), &Rule::to_port, {"The destination port, written like `from-port`.", "[80, 443]"})
      .optional("flags", flags_match_type(), &Rule::flags, {"TCP flags that must be set, or with `!` clear; implies `proto: tcp`.", "[syn, \"!ack\"]"})
      .optional("icmp", icmp_match_type(), &Rule::icmp,
                {"ICMP types, by name for both families (one that both have matches both), or as `TYPE` or `TYPE/CODE` with `proto: icmp` or `icmpv6`.", "[echo-request, packet-too-big]"})
      .optional("vlan", vlan_match_type(), &Rule::vlan, {"The number in the outer VLAN tag.", "[10, \"20-29\"]"})
      .optional("dscp", dscp_match_type(), &Rule::dscp, {"The packet's DSCP, by class or number.", "ef"})
      .optional("ttl", ttl_match_type(), &Rule::ttl, {"The TTL, of IPv6 the hop limit, as the packet arrives.", "\"0-1\""})
      .optional("length", length_match_type(), &Rule::length, {"The length of the IP datagram, or of the fragment that it came in, in bytes.", "\"1400-65535\""})
      .optional("fragment", fragment_match_type(), &Rule::fragment, {"Whether the packet is a fragment of a datagram.", "any"})
      .optional("options", options_match_type(), &Rule::options, {"Whether there are IPv4 options or IPv6 extension headers (the fragment header is none).", "present"})
      .optional("mac", mac_match_type(), &Rule::mac, {"The source's MAC address.  On devices without Ethernet headers no address is equal to one.", "02:00:5e:10:00:01"})
      .optional("interface", interface_match_type(), &Rule::interface, {"Interfaces of the file that the packet arrives on, for a policy that is attached to several.", "wan"})
      .optional("socket", yes_no_type(), &Rule::socket, "no", {"Match only packets that a socket of this host owns (a connection, or a bound UDP port; a listening TCP port owns nothing): keeps the answers to the node's own requests under `default: drop`.", "yes"})
      .required("action", rule_action_type(), &Rule::action, {"What happens to a packet that matches.", "drop"})
      .optional("audit", yes_no_type(), &Rule::audit, "no",
                {"Count what the rule would drop as audited, and go on with the next rule: to try a rule out.", "yes"})
      .optional("count", one_of<CountPer>({{CountPer::source, {"per source", "by source address"}}, {CountPer::destination, {"per destination", "by destination address"}}}),
                &Rule::count, {"Count also by address; `penstock top RULE` lists the heaviest.  All such rules share 65,536 counters: where they do not suffice, the address not seen for longest makes room.", "per source"})
      .extend(extensions, &Rule::extensions)
      .unbuilt({"mark", "set-mark", "state", "mirror", "sample", "ban", "time", "syn-proxy", "log"})
      .check(check_rule);
}

bool check_policy(Decoder& d, const Node&, Policy& policy) {
  bool good = true;
  if (policy.attach.empty()) good = d.error(policy.at, fmt::format("the policy `{}` is attached nowhere: its list is empty", policy.name), "write `attach: [INTERFACE.ingress]`");
  for (size_t i = 0; i < policy.attach.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (policy.attach[j].interface == policy.attach[i].interface)
        good = d.error(policy.attach[i].at, fmt::format("`{}.ingress` is attached to twice", policy.attach[i].interface), fmt::format("the first is at {}", policy.attach[j].at.text()));
  for (const Rule& rule : policy.rules)
    for (const std::string& name : rule.interface.names)
      if (std::ranges::find(policy.attach, name, &Attach::interface) == policy.attach.end())
        good = d.error(rule.at, fmt::format("the rule `{}` asks for the interface `{}`, to which the policy `{}` is not attached", rule.name, name, policy.name),
                       fmt::format("write `attach: [..., {}.ingress]`, or leave it out", name));
  std::unordered_map<std::string_view, const Rule*> seen;
  for (const Rule& rule : policy.rules) {
    const auto [first, fresh] = seen.emplace(rule.name, &rule);
    if (!fresh) good = d.error(rule.at, fmt::format("duplicate rule `{}` in the policy `{}`", rule.name, policy.name), fmt::format("the first is at {}", first->second->at.text()));
    d.define("rule", policy.name + "/" + rule.name, rule.at);
    d.define("rule", rule.name, rule.at);
  }
  return good;
}

Keys<Policy> policy_keys(const std::vector<Extension>& extensions) {
  return Keys<Policy>("policy", "An ordered list of rules at the hooks of interfaces.  The first rule that matches a packet decides; if none does, the default.")
      .required("attach", one_or_list_of(attach_type()), &Policy::attach, {"The hooks whose packets this policy judges.  Policies of one hook run in the order of the file; a packet must be accepted by each.", "[wan.ingress]"})
      .optional("mode", one_of<Mode>({{Mode::enforce, {"enforce", "drop what is to be dropped"}}, {Mode::audit, {"audit", "evaluate, count and report, but drop nothing"}}}),
                &Policy::mode, "enforce", {"Whether verdicts take effect.", "audit"})
      .optional("default", default_action_type(), &Policy::default_action, "accept",
                {"What happens to a packet that no rule matches.  `drop` never drops neighbour discovery, ARP or DHCP replies to the node unless a rule says so.", "drop"})
      .located(&Policy::default_at)
      .optional("rules", list_of(object_of(rule_keys(extensions))), &Policy::rules, {"The rules, in order.", "[{ name: web, proto: tcp, to-port: 443, action: accept }]"})
      .unbuilt({"priority", "limits", "state", "conntrack"})
      .check(check_policy);
}

}  // namespace

Type<std::vector<Policy>> policies_type(const std::vector<Extension>& rule_extensions) {
  Type<std::vector<Policy>> type = named_map_of<Policy>("policy", policy_keys(rule_extensions));
  type.decode = [decode = std::move(type.decode)](Decoder& d, const Node& node, std::vector<Policy>& out) {
    if (decode(d, node, out)) return true;
    d.mark_incomplete("rule");
    return false;
  };
  return type;
}

}  // namespace penstock
