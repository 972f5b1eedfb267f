#include "features/policy/config.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <unordered_map>

#include "features/policy/decode.h"
#include "features/policy/matches.h"

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

Type<Action> action_type(std::vector<std::string> unbuilt) {
  return one_of<Action>({{Action::accept, {"accept", "let the packet go on"}}, {Action::drop, {"drop", "drop it"}}}, std::move(unbuilt));
}

const Node& value_of(const Node& map, std::string_view key) {
  for (size_t i = 0; i < map.entries(); ++i)
    if (map.key(i).text == key) return map.key(i);
  return map;
}

bool check_rule(Decoder& d, const Node& node, Rule& rule) {
  const bool ports = !rule.from_port.any() || !rule.to_port.any();
  if (ports && rule.proto != IPPROTO_TCP && rule.proto != IPPROTO_UDP) {
    const Node& at = value_of(node, rule.to_port.any() ? "from-port" : "to-port");
    return d.error(at, fmt::format("`{}` needs `proto: tcp` or `proto: udp`", at.text), rule.proto ? "this protocol has no ports here" : "add the protocol to the rule");
  }
  return true;
}

Keys<Rule> rule_keys(const std::vector<Extension>& extensions) {
  return Keys<Rule>("rule", "What a rule names must all match; the first rule that matches decides.  A rule that names nothing matches every packet.")
      .required("name", name_type("rule"), &Rule::name, {"Unique in its policy.  Counters belong to POLICY/NAME and survive every change but that of the name.", "web"})
      .optional("from", address_match_type(), &Rule::from, "any",
                {"The source address.  `\"!x\"` (in quotes) and `{ not: x }` negate; with a list the negation applies to the whole.", "{ not: [192.0.2.0/24, \"2001:db8::/32\"] }"})
      .optional("to", address_match_type(), &Rule::to, "any", {"The destination address, written like `from`.", "198.51.100.0/24"})
      .optional("proto", proto_type(), &Rule::proto, {"The protocol above IP, after any IPv6 extension headers.", "tcp"})
      .optional("from-port", port_match_type(), &Rule::from_port, {"The source port; only with `proto: tcp` or `udp`.  Later fragments carry no ports and never match.", "\"1024-65535\""})
      .optional("to-port", port_match_type(), &Rule::to_port, {"The destination port, written like `from-port`.", "[80, 443]"})
      .optional("socket", yes_no_type(), &Rule::socket, "no", {"Match only packets that a socket of this host owns (a connection, or a bound UDP port; a listening TCP port owns nothing): keeps the answers to the node's own requests under `default: drop`.", "yes"})
      .required("action", action_type({"redirect", "reject", "mark", "mirror", "count", "limit", "ban", "syn-proxy"}), &Rule::action, {"What happens to a packet that matches.", "drop"})
      .extend(extensions, &Rule::extensions)
      .unbuilt({"limit", "flags", "icmp", "icmp-type", "length", "ttl", "dscp", "mark", "set-mark", "vlan", "fragment", "state", "mirror", "sample", "audit", "ban", "time", "syn-proxy", "log"})
      .check(check_rule);
}

bool check_policy(Decoder& d, const Node&, Policy& policy) {
  bool good = true;
  if (policy.attach.empty()) good = d.error(policy.at, fmt::format("the policy `{}` is attached nowhere: its list is empty", policy.name), "write `attach: [INTERFACE.ingress]`");
  for (size_t i = 0; i < policy.attach.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (policy.attach[j].interface == policy.attach[i].interface)
        good = d.error(policy.attach[i].at, fmt::format("`{}.ingress` is attached to twice", policy.attach[i].interface), fmt::format("the first is at {}", policy.attach[j].at.text()));
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
      .optional("default", action_type({}), &Policy::default_action, "accept",
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
