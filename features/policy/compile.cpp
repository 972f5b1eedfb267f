#include "features/policy/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "features/policy/classifier.h"

namespace penstock {
namespace {

constexpr uint8_t icmp = 1, icmpv6 = 58;
constexpr PortRange any_port{};

// Up to this many rules are walked one by one; more have a classifier.
constexpr size_t walked_rules_max = 4;
// How many prefixes a rule may list for a side, to have an entry of the classifier for each: few where the entries
// may end up in one chain, since a set is then asked faster.
constexpr size_t listed_max = 64, listed_in_chain_max = 2;

// The indexes of the sets that make up `match`: each set of the file by itself, since it may gain elements at run
// time, and one for the prefixes that the rule lists, unless they are told one by one.
std::vector<uint32_t> alternatives(const AddressMatch& match, bool listed, SetRegistry& sets) {
  std::vector<uint32_t> out;
  if (match.any) return out;
  for (const std::string& name : match.sets) out.push_back(sets.named(name));
  if (!match.prefixes.empty() && !listed) out.push_back(sets.nameless(match.prefixes));
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
// ("in none of them") puts an entry for each in front, which skips the rule.  Of the prefixes that the rule lists for
// a side, `listed` at most are told one by one, more as a set.  False: more than `room` entries.
bool append_rule(const Rule& rule, ps_verdict verdict, uint32_t slot, size_t room, size_t listed, SetRegistry& sets,
                 std::vector<ClassifierRule>& out) {
  struct Side {
    const AddressMatch& match;
    bool listed;
    std::vector<uint32_t> sets;
    uint8_t positive, negative;
  };
  const auto side_of = [&](const AddressMatch& match, uint8_t positive, uint8_t negative) {
    const bool told = !match.any && !match.negate && match.prefixes.size() <= listed;
    return Side{match, told, alternatives(match, told, sets), positive, negative};
  };
  const Side sides[2] = {side_of(rule.from, PS_RULE_FROM, PS_RULE_FROM_NEGATED),
                         side_of(rule.to, PS_RULE_TO, PS_RULE_TO_NEGATED)};

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

  // Each side's choices for the entries that decide: a set, a prefix, or nothing to ask.
  struct Choice {
    uint8_t flags;
    uint32_t set;
    std::optional<Prefix> prefix;
  };
  std::vector<Choice> choices[2];
  std::vector<ClassifierRule> skips;
  for (int side = 0; side < 2; ++side) {
    const Side& s = sides[side];
    if (s.match.any) {
      if (!s.match.negate) choices[side].push_back({0, 0, {}});
    } else if (!s.match.negate) {
      for (const uint32_t set : s.sets) choices[side].push_back({s.positive, set, {}});
      if (s.listed)
        for (const Prefix& prefix : s.match.prefixes) choices[side].push_back({0, 0, prefix});
    } else if (s.sets.size() == 1) {
      choices[side].push_back({static_cast<uint8_t>(s.positive | s.negative), s.sets.front(), {}});
    } else {
      choices[side].push_back({0, 0, {}});
      for (const uint32_t set : s.sets) {
        ps_rule skip{};
        skip.flags = s.positive;
        skip.verdict = PS_RULE_SKIP;
        skip.set[side] = set;
        for (int k = 0; k < 2; ++k) skip.port_last[k] = any_port.last;
        skips.push_back({skip, {}});
      }
    }
  }

  const std::vector<PortRange> from_ports = ranges(rule.from_port), to_ports = ranges(rule.to_port);
  size_t count = skips.size();  // no factor is over 2^16, so the product of all four fits
  count += from_ports.size() * to_ports.size() * choices[PS_SOURCE].size() * choices[PS_DESTINATION].size();
  if (count > room) return false;

  std::vector<ClassifierRule> entries;
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
          entries.push_back({entry, {from.prefix, to.prefix}});
        }
  if (entries.empty()) return true;
  for (size_t i = 0; i < skips.size(); ++i) skips[i].rule.slot = static_cast<uint32_t>(skips.size() - 1 - i + entries.size());
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

// The tables that all policies fill.
struct Tables {
  std::vector<ps_rule> rules;
  std::vector<ps_classifier> classifiers;
  std::vector<ps_line> lines;
  size_t listed = 0, classified = 0, tuples = 0;  // entries of either kind; tuples of all classifiers
};

// The entries of the policy's rules; nothing: more than `max_entries`, and `over` is the rule that went beyond.
std::optional<std::vector<ClassifierRule>> entries_of(const Policy& policy, size_t max_entries, size_t listed,
                                                      SetRegistry& sets, SlotTable& slots, const Rule*& over) {
  std::vector<ClassifierRule> entries;
  for (const Rule& rule : policy.rules) {
    const ps_verdict v = verdict(rule.action, policy.mode);
    const uint32_t slot = policy_slot(policy, rule.name, v, PS_REASON_RULE, rule.at, slots);
    over = &rule;
    if (!append_rule(rule, v, slot, max_entries - entries.size(), listed, sets, entries)) return std::nullopt;
  }
  return entries;
}

// Does a rule ask for a set that counts hits?
bool asks_counted(const Policy& policy, const SetRegistry& sets) {
  const auto counted = [&](const AddressMatch& match) {
    return std::ranges::any_of(match.sets, [&](const std::string& name) { return sets.counts_hits(name); });
  };
  return std::ranges::any_of(policy.rules, [&](const Rule& rule) { return counted(rule.from) || counted(rule.to); });
}

// A classifier for the policy's rules.  False: walk them; so must be rules that ask for sets which count, since the
// classifier also asks for rules behind the one that wins.
bool classify(const Policy& policy, ps_policy& out, SetRegistry& sets, SlotTable& slots, Tables& tables) {
  if (policy.rules.size() <= walked_rules_max || asks_counted(policy, sets)) return false;
  SetRegistry with = sets;  // sets that are not used in the end must not be registered
  const Rule* over = nullptr;
  const size_t listed = policy.rules.size() > classifier_chain_max ? listed_max : listed_in_chain_max;
  const auto entries = entries_of(policy, PS_RULES_MAX_may_goto, listed, with, slots, over);
  if (!entries) return false;
  auto built = build_classifier(*entries);
  if (!built) return false;
  sets = std::move(with);
  out.classified = 1;
  out.classifier = static_cast<uint32_t>(tables.classifiers.size());
  built->descriptor.base = static_cast<uint32_t>(tables.lines.size());
  built->descriptor.first_residual = static_cast<uint32_t>(tables.rules.size());
  tables.classifiers.push_back(built->descriptor);
  tables.lines.insert(tables.lines.end(), built->lines.begin(), built->lines.end());
  tables.rules.insert(tables.rules.end(), built->residuals.begin(), built->residuals.end());
  tables.classified += built->entries;
  tables.tuples += built->descriptor.tuples;
  return true;
}

// A policy, and where its entries in map `policy_rules` lie: the list to walk or the classifier's residual tests.
struct Compiled {
  ps_policy table{};
  size_t first = 0, end = 0;
};

Result<Compiled> compile_policy(const Policy& policy, size_t max_entries, SetRegistry& sets, SlotTable& slots,
                                 Tables& tables) {
  Compiled compiled;
  ps_policy& out = compiled.table;
  compiled.first = tables.rules.size();
  if (!classify(policy, out, sets, slots, tables)) {
    const Rule* over = nullptr;
    const auto entries = entries_of(policy, max_entries, 0, sets, slots, over);
    if (!entries) {
      Diagnostic d{fmt::format("too many rules: policy {} needs more than {} entries on this kernel", policy.name, max_entries)};
      d.at = over->at;
      d.hint = "put addresses into sets and join neighbouring ports into ranges";
      return fail(std::move(d));
    }
    out.first_rule = static_cast<uint32_t>(tables.rules.size());
    out.rules = static_cast<uint32_t>(entries->size());
    for (const ClassifierRule& entry : *entries) tables.rules.push_back(entry.rule);
    tables.listed += entries->size();
  }
  compiled.end = tables.rules.size();
  const ps_verdict v = verdict(policy.default_action, policy.mode);
  out.default_verdict = static_cast<__u8>(v);
  out.default_slot = policy_slot(policy, {}, v, PS_REASON_DEFAULT, policy.default_at, slots);
  out.kept_nd_slot = out.kept_dhcp_slot = PS_NO_SLOT;
  if (v != PS_PASS) {
    out.kept_nd_slot = policy_slot(policy, {}, PS_PASS, PS_REASON_KEPT_ND, policy.default_at, slots);
    out.kept_dhcp_slot = policy_slot(policy, {}, PS_PASS, PS_REASON_KEPT_DHCP, policy.default_at, slots);
  }
  return compiled;
}

template <class T>
TableImage table(std::string map, std::vector<T> entries, std::string structure) {
  if (entries.empty()) entries.emplace_back();  // a map has at least one entry
  return {std::move(map), sizeof(T), bytes_of(entries), std::move(structure)};
}

}  // namespace

Result<PolicyTables> compile_policies(const std::vector<Policy>& policies, const std::vector<std::string>& interfaces,
                                      size_t max_entries, SetRegistry& sets, SlotTable& slots) {
  Tables tables;
  std::vector<Compiled> compiled;
  for (const Policy& policy : policies) {
    TRY_ASSIGN(const Compiled entry, compile_policy(policy, max_entries, sets, slots, tables));
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
      const Compiled& policy = compiled[i];
      hook.policy[hook.count++] = policy.table;
      hook.classifiers |= policy.table.classified;
      const size_t times = policy.table.classified ? 2 : 1;  // entries share residual tests
      for (size_t k = policy.first; k < policy.end; ++k) {
        const ps_rule& rule = tables.rules[k];
        hook.rule_flags |= rule.flags;
        for (int side = 0; side < 2; ++side)
          hook.ports |= rule.port_first[side] != any_port.first || rule.port_last[side] != any_port.last;
        asked[PS_SOURCE] += rule.flags & PS_RULE_FROM ? times : 0;
        asked[PS_DESTINATION] += rule.flags & PS_RULE_TO ? times : 0;
      }
    }
    // Short lists are walked in place, in the program's own stack frame: beside a classifier's calls there is no room for it.
    hook.short_lists = !(hook.rule_flags & PS_RULE_SOCKET) && !hook.classifiers &&
                       std::all_of(hook.policy, hook.policy + hook.count, [](const ps_policy& p) { return p.rules <= PS_RULES_SHORT; });
    if (hook.short_lists)
      for (ps_policy& policy : std::span(hook.policy, hook.count)) std::copy_n(tables.rules.data() + policy.first_rule, policy.rules, policy.rule);
    hook.asks_again = asked[PS_SOURCE] > 1 || asked[PS_DESTINATION] > 1;
    out.hooks.push_back(hook);
  }
  out.tables.push_back(table("policy_rules", std::move(tables.rules), fmt::format("list, {} entries", tables.listed)));
  out.tables.push_back(table("classifiers", std::move(tables.classifiers), {}));
  std::string structure;
  if (tables.classified) structure = fmt::format("classifier, {} entries in {} tuples", tables.classified, tables.tuples);
  out.tables.push_back(table("classifier_lines", std::move(tables.lines), std::move(structure)));
  return out;
}

}  // namespace penstock
