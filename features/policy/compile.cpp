#include "features/policy/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace penstock {
namespace {

constexpr uint8_t icmp = 1, icmpv6 = 58;
constexpr PortRange any_port{};

// The indexes of the sets that make up `match`: each set of the file by itself, since it may gain elements at run
// time, and one for the prefixes that the rule lists.
std::vector<uint32_t> alternatives(const AddressMatch& match, SetRegistry& sets) {
  std::vector<uint32_t> out;
  if (match.any) return out;
  for (const std::string& name : match.sets) out.push_back(sets.named(name));
  if (!match.prefixes.empty()) out.push_back(sets.nameless(match.prefixes));
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

// The ranges of ports that match; empty: none does.
std::vector<PortRange> ranges(const PortMatch& match) {
  if (match.any()) return {any_port};
  if (!match.negate) return match.ranges;
  std::vector<PortRange> out;
  uint32_t next = 0;
  for (const PortRange& r : match.ranges) {
    if (r.first > next) out.push_back({static_cast<uint16_t>(next), static_cast<uint16_t>(r.first - 1)});
    next = r.last + 1u;
  }
  if (next <= 65535) out.push_back({static_cast<uint16_t>(next), 65535});
  return out;
}

ps_verdict verdict(Action action, Mode mode) {
  return action == Action::accept ? PS_PASS : mode == Mode::audit ? PS_AUDIT : PS_DROP;
}

// Appends the entries of one rule.  A positive match on several sets multiplies entries; a negative one on several
// ("in none of them") puts an entry for each in front, which skips the rule.  False: more than `room` entries.
bool append_rule(const Rule& rule, ps_verdict verdict, uint32_t slot, size_t room, SetRegistry& sets,
                 std::vector<ps_rule>& out) {
  struct Side {
    const AddressMatch& match;
    std::vector<uint32_t> sets;
    uint8_t positive, negative;
  };
  const Side sides[2] = {{rule.from, alternatives(rule.from, sets), PS_RULE_FROM, PS_RULE_FROM_NEGATED},
                         {rule.to, alternatives(rule.to, sets), PS_RULE_TO, PS_RULE_TO_NEGATED}};

  ps_rule base{};
  base.verdict = static_cast<__u8>(verdict);
  base.slot = slot;
  if (rule.proto) {
    base.flags |= PS_RULE_PROTO;
    base.proto = *rule.proto;
    if (*rule.proto == icmp) base.needs |= PS_IPV4;
    if (*rule.proto == icmpv6) base.needs |= PS_IPV6;
  }
  if (rule.socket) base.flags |= PS_RULE_SOCKET;
  if (rule.socket || !rule.from_port.any() || !rule.to_port.any()) base.needs |= PS_PORTS;
  for (int side = 0; side < 2; ++side) {
    base.port_first[side] = any_port.first;
    base.port_last[side] = any_port.last;
  }

  // Each side's choices for the entries that decide: a set, or nothing to ask.
  struct Choice {
    uint8_t flags;
    uint32_t set;
  };
  std::vector<Choice> choices[2];
  std::vector<ps_rule> skips;
  for (int side = 0; side < 2; ++side) {
    const Side& s = sides[side];
    if (s.match.any) {
      if (!s.match.negate) choices[side].push_back({0, 0});
    } else if (!s.match.negate) {
      for (const uint32_t set : s.sets) choices[side].push_back({s.positive, set});
    } else if (s.sets.size() == 1) {
      choices[side].push_back({static_cast<uint8_t>(s.positive | s.negative), s.sets.front()});
    } else {
      choices[side].push_back({0, 0});
      for (const uint32_t set : s.sets) {
        ps_rule skip{};
        skip.flags = s.positive;
        skip.verdict = PS_RULE_SKIP;
        skip.set[side] = set;
        for (int k = 0; k < 2; ++k) skip.port_last[k] = any_port.last;
        skips.push_back(skip);
      }
    }
  }

  const std::vector<PortRange> from_ports = ranges(rule.from_port), to_ports = ranges(rule.to_port);
  size_t count = skips.size();  // no factor is over 2^16, so the product of all four fits
  count += from_ports.size() * to_ports.size() * choices[PS_SOURCE].size() * choices[PS_DESTINATION].size();
  if (count > room) return false;

  std::vector<ps_rule> entries;
  for (const PortRange& from_port : from_ports)
    for (const PortRange& to_port : to_ports)
      for (const Choice& from : choices[PS_SOURCE])
        for (const Choice& to : choices[PS_DESTINATION]) {
          ps_rule entry = base;
          entry.flags |= from.flags | to.flags;
          entry.set[PS_SOURCE] = from.set;
          entry.set[PS_DESTINATION] = to.set;
          entry.port_first[PS_SOURCE] = from_port.first;
          entry.port_last[PS_SOURCE] = from_port.last;
          entry.port_first[PS_DESTINATION] = to_port.first;
          entry.port_last[PS_DESTINATION] = to_port.last;
          entries.push_back(entry);
        }
  if (entries.empty()) return true;
  for (size_t i = 0; i < skips.size(); ++i) skips[i].slot = static_cast<uint32_t>(skips.size() - 1 - i + entries.size());
  out.insert(out.end(), skips.begin(), skips.end());
  out.insert(out.end(), entries.begin(), entries.end());
  return true;
}

uint32_t policy_slot(const Policy& policy, const std::string& rule, ps_verdict verdict, ps_reason reason,
                     const Location& at, SlotTable& slots) {
  Slot s;
  s.policy = policy.name;
  s.rule = rule;
  s.verdict = verdict;
  s.reason = reason;
  s.at = at;
  return slots.intern(std::move(s));
}

Result<ps_policy> compile_policy(const Policy& policy, size_t max_entries, SetRegistry& sets, SlotTable& slots,
                                 std::vector<ps_rule>& rules) {
  ps_policy out{};
  const size_t first = rules.size();
  for (const Rule& rule : policy.rules) {
    const ps_verdict v = verdict(rule.action, policy.mode);
    const uint32_t slot = policy_slot(policy, rule.name, v, PS_REASON_RULE, rule.at, slots);
    if (!append_rule(rule, v, slot, max_entries - (rules.size() - first), sets, rules)) {
      Diagnostic d{fmt::format("too many rules: policy {} needs more than {} entries on this kernel", policy.name, max_entries)};
      d.at = rule.at;
      d.hint = "put addresses into sets and join neighbouring ports into ranges";
      return fail(std::move(d));
    }
  }
  out.first_rule = static_cast<uint32_t>(first);
  out.rules = static_cast<uint32_t>(rules.size() - first);
  const ps_verdict v = verdict(policy.default_action, policy.mode);
  out.default_verdict = static_cast<__u8>(v);
  out.default_slot = policy_slot(policy, {}, v, PS_REASON_DEFAULT, policy.default_at, slots);
  out.kept_nd_slot = out.kept_dhcp_slot = PS_NO_SLOT;
  if (v != PS_PASS) {
    out.kept_nd_slot = policy_slot(policy, {}, PS_PASS, PS_REASON_KEPT_ND, policy.default_at, slots);
    out.kept_dhcp_slot = policy_slot(policy, {}, PS_PASS, PS_REASON_KEPT_DHCP, policy.default_at, slots);
  }
  return out;
}

template <class T>
TableImage table(std::string map, std::vector<T> entries, std::string structure) {
  if (entries.empty()) entries.emplace_back();  // a map has at least one entry
  return {std::move(map), sizeof(T), bytes_of(entries), std::move(structure)};
}

}  // namespace

Result<PolicyTables> compile_policies(const std::vector<Policy>& policies, const std::vector<std::string>& interfaces,
                                      size_t max_entries, SetRegistry& sets, SlotTable& slots) {
  std::vector<ps_rule> rules;
  std::vector<ps_policy> compiled;
  for (const Policy& policy : policies) {
    TRY_ASSIGN(const ps_policy entry, compile_policy(policy, max_entries, sets, slots, rules));
    compiled.push_back(entry);
    for (const Attach& attach : policy.attach) {
      if (std::ranges::find(interfaces, attach.interface) != interfaces.end()) continue;
      Diagnostic d{fmt::format("there is no interface {}", attach.interface)};
      d.at = attach.at;
      return fail(std::move(d));
    }
  }

  PolicyTables out;
  for (const std::string& interface : interfaces) {
    ps_policy_const hook{};
    size_t asked[2] = {0, 0};
    for (size_t i = 0; i < policies.size(); ++i) {
      const auto attach = std::ranges::find(policies[i].attach, interface, &Attach::interface);
      if (attach == policies[i].attach.end()) continue;
      if (hook.count == PS_POLICIES_MAX) {
        Diagnostic d{fmt::format("more than {} policies on interface {}", PS_POLICIES_MAX, interface)};
        d.at = attach->at;
        d.hint = "join some of them";
        return fail(std::move(d));
      }
      hook.policy[hook.count++] = compiled[i];
      for (uint32_t k = 0; k < compiled[i].rules; ++k) {
        const ps_rule& rule = rules[compiled[i].first_rule + k];
        hook.rule_flags |= rule.flags;
        for (int side = 0; side < 2; ++side)
          hook.ports |= rule.port_first[side] != any_port.first || rule.port_last[side] != any_port.last;
        asked[PS_SOURCE] += rule.flags & PS_RULE_FROM ? 1 : 0;
        asked[PS_DESTINATION] += rule.flags & PS_RULE_TO ? 1 : 0;
      }
    }
    hook.short_lists = !(hook.rule_flags & PS_RULE_SOCKET) &&
                       std::all_of(hook.policy, hook.policy + hook.count, [](const ps_policy& p) { return p.rules <= PS_RULES_SHORT; });
    if (hook.short_lists)
      for (ps_policy& policy : std::span(hook.policy, hook.count)) std::copy_n(rules.data() + policy.first_rule, policy.rules, policy.rule);
    hook.asks_again = asked[PS_SOURCE] > 1 || asked[PS_DESTINATION] > 1;
    out.hooks.push_back(hook);
  }
  std::string structure = fmt::format("list, {} entries", rules.size());
  out.tables.push_back(table("policy_rules", std::move(rules), std::move(structure)));
  return out;
}

}  // namespace penstock
