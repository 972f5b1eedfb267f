#include "features/policy/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "features/policy/classifier.h"
#include "features/policy/entries.h"

namespace penstock {
namespace {

constexpr PortRange any_port{};

// Up to this many rules are walked one by one; more have a classifier.
constexpr size_t walked_rules_max = 4;
// How many prefixes a rule may list for a side, to have an entry of the classifier for each: few where the entries
// may end up in one chain, since a set is then asked faster.
constexpr size_t listed_max = 64, listed_in_chain_max = 2;

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

ps_verdict verdict(Action action, Mode mode) {
  if (action == Action::accept) return PS_PASS;
  if (action == Action::continue_) return PS_CONTINUE;
  if (mode == Mode::audit) return PS_AUDIT;
  return action == Action::reject ? PS_TX : PS_DROP;
}

// The tables that all policies fill.
struct Tables {
  std::vector<ps_rule> rules;
  std::vector<ps_classifier> classifiers;
  std::vector<ps_line> lines;
  ExtraTable extras;
  std::vector<ps_reject> rejects;
  size_t listed = 0, classified = 0, tuples = 0;  // entries of either kind; tuples of all classifiers
};

// What the rules of a policy are compiled with.
struct Surroundings {
  const InterfaceNumbers& interfaces;  // that the policy is attached to
  SlotTable& slots;
  Tables& tables;
  const LimitOf& limit_of;
  std::vector<Outcome> outcomes{};     // of each rule
};

// A rule that asks for what a later fragment does not carry.
bool asks_transport(const Rule& rule) {
  return rule.socket || !rule.flags.any() || !rule.icmp.kinds.empty() || !rule.from_port.any() || !rule.to_port.any();
}

Outcome outcome_of(const Rule& rule, const Policy& policy, const Surroundings& around) {
  Outcome out;
  const ps_verdict v = rule.audit ? PS_AUDIT : verdict(rule.action, policy.mode);
  const auto slot = [&](ps_verdict what, ps_reason reason) { return policy_slot(policy, rule.name, what, reason, rule.at, around.slots); };
  // ps_rule.slot of a match for this reason.
  const auto match = [&](ps_reason reason) {
    const uint32_t number = slot(v, reason);
    if (v != PS_TX) return number;
    std::vector<ps_reject>& rejects = around.tables.rejects;
    rejects.push_back({number, slot(PS_DROP, PS_REASON_UNANSWERED), slot(PS_DROP, PS_REASON_REJECT_LIMITED), 0});
    return static_cast<uint32_t>(rejects.size() - 1);
  };
  out.verdict = static_cast<uint8_t>(v);
  if (rule.limited) {
    const ps_reason over = v == PS_PASS ? PS_REASON_RULE : PS_REASON_RATE_LIMITED;
    const uint32_t first = match(over), banned = v == PS_PASS ? first : match(PS_REASON_BANNED);
    out.slot = around.limit_of(rule, first, banned, slot(v, over));
    out.then |= PS_THEN_LIMITED;
  } else {
    out.slot = match(PS_REASON_RULE);
  }
  if (rule.audit || rule.action == Action::continue_) out.then |= PS_THEN_GO_ON;
  if (rule.count == CountPer::source) out.then |= PS_THEN_COUNT_SOURCE;
  if (rule.count == CountPer::destination) out.then |= PS_THEN_COUNT_DESTINATION;
  if (rule.fragment == FragmentMatch::later || rule.fragment == FragmentMatch::any) out.then |= PS_THEN_FRAGMENT;
  return out;
}

// The entries of the policy's rules; nothing: more than `max_entries`, and `over` is the rule that went beyond.
std::optional<std::vector<ClassifierRule>> entries_of(const Policy& policy, size_t max_entries, size_t listed,
                                                      SetRegistry& sets, const Surroundings& around, const Rule*& over) {
  std::vector<ClassifierRule> entries;
  const EntryOptions options{around.interfaces, listed};
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const Rule& rule = policy.rules[i];
    over = &rule;
    if (!append_rule(rule, around.outcomes[i], max_entries - entries.size(), options, sets, around.tables.extras, entries)) return std::nullopt;
  }
  return entries;
}

// More rules of a policy than this that let a packet go on are walked: the classifier is asked again behind each.
constexpr size_t classified_going_on_max = CLASS_TURNS;

bool goes_on_often(const Policy& policy) {
  return std::ranges::count_if(policy.rules, perhaps_goes_on) > static_cast<std::ptrdiff_t>(classified_going_on_max);
}

// Does a rule ask for a set that counts hits?
bool asks_counted(const Policy& policy, const SetRegistry& sets) {
  const auto counted = [&](const AddressMatch& match) {
    return std::ranges::any_of(match.sets, [&](const std::string& name) { return sets.counts_hits(name); });
  };
  return std::ranges::any_of(policy.rules, [&](const Rule& rule) { return counted(rule.from) || counted(rule.to); });
}

std::string counted(size_t entries) { return fmt::format("{} {}", entries, entries == 1 ? "entry" : "entries"); }
std::string text_of(const Classifier& c) {
  if (c.descriptor.tuples == 1) return fmt::format("classifier, {} in one chain", counted(c.entries));
  return fmt::format("classifier, {} in {} tuples, {:.0f} KiB", counted(c.entries), c.descriptor.tuples, c.lines.size() * sizeof(ps_line) / 1024.0);
}

// A classifier for the policy's rules.  False: walk them; so must be rules that ask for sets which count, since the
// classifier also asks for rules behind the one that wins.  `structure` is what status says of it, or why there is none.
bool classify(const Policy& policy, ps_policy& out, SetRegistry& sets, const Surroundings& around, std::string& structure) {
  if (policy.rules.size() <= walked_rules_max) return false;
  structure = asks_counted(policy, sets) ? "walked since a set counts hits" : goes_on_often(policy) ? "walked since many rules go on" : "";
  if (!structure.empty()) return false;
  structure = "walked since it has no place in a classifier";
  Tables& tables = around.tables;
  SetRegistry with = sets;  // sets that are not used in the end must not be registered
  const Rule* over = nullptr;
  const size_t listed = policy.rules.size() > classifier_chain_max ? listed_max : listed_in_chain_max;
  const auto entries = entries_of(policy, PS_RULES_MAX_may_goto, listed, with, around, over);
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
  structure = text_of(*built);
  tables.classified += built->entries;
  tables.tuples += built->descriptor.tuples;
  return true;
}

// A policy, and where its entries in map `policy_rules` lie: the list to walk or the classifier's residual tests.
struct Compiled {
  ps_policy table{};
  size_t first = 0, end = 0;
  uint8_t then = 0;      // enum ps_then of any rule
  bool rejects = false;  // any rule does
  std::string structure;
};

Result<Compiled> compile_policy(const Policy& policy, size_t max_entries, SetRegistry& sets, Surroundings around) {
  Tables& tables = around.tables;
  SlotTable& slots = around.slots;
  Compiled compiled;
  ps_policy& out = compiled.table;
  compiled.first = tables.rules.size();
  for (const Rule& rule : policy.rules) {
    const Outcome& outcome = around.outcomes.emplace_back(outcome_of(rule, policy, around));
    compiled.then |= outcome.then;
    compiled.rejects |= outcome.verdict == PS_TX;
    out.fragments |= asks_transport(rule);
  }
  if (!classify(policy, out, sets, around, compiled.structure)) {
    const Rule* over = nullptr;
    const auto entries = entries_of(policy, max_entries, 0, sets, around, over);
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
    compiled.structure = fmt::format("list, {}{}{}", counted(entries->size()), compiled.structure.empty() ? "" : ", ", compiled.structure);
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
                                      size_t max_entries, SetRegistry& sets, SlotTable& slots, const LimitOf& limit_of) {
  Tables tables;
  PolicyTables out;
  std::vector<Compiled> compiled;
  for (const Policy& policy : policies) {
    InterfaceNumbers attached;
    for (const Attach& attach : policy.attach) {
      const auto at = std::ranges::find(interfaces, attach.interface);
      if (at == interfaces.end()) {
        Diagnostic d{fmt::format("there is no interface {}", attach.interface)};
        d.at = attach.at;
        return fail(std::move(d));
      }
      attached.emplace_back(attach.interface, static_cast<uint32_t>(at - interfaces.begin()));
    }
    TRY_ASSIGN(const Compiled entry, compile_policy(policy, max_entries, sets, {attached, slots, tables, limit_of}));
    compiled.push_back(entry);
    out.structures[policy.name] = entry.structure;
  }

  out.sizes = {{"policy_fragments", 0}, {"policy_talkers", 0}};
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
      hook.then |= policy.then;
      hook.rejects |= policy.rejects;
      hook.fragments |= policy.table.fragments;
      const size_t times = policy.table.classified ? 2 : 1;  // entries share residual tests
      for (size_t k = policy.first; k < policy.end; ++k) {
        const ps_rule& rule = tables.rules[k];
        hook.rule_flags |= rule.flags;
        hook.then |= static_cast<__u8>(rule.then);
        if (rule.flags & PS_RULE_EXTRA) hook.extras |= tables.extras.entries()[rule.extra].kinds;
        for (int side = 0; side < 2; ++side)
          hook.ports |= rule.port_first[side] != any_port.first || rule.port_last[side] != any_port.last;
        asked[PS_SOURCE] += rule.flags & PS_RULE_FROM ? times : 0;
        asked[PS_DESTINATION] += rule.flags & PS_RULE_TO ? times : 0;
      }
    }
    // Short lists are walked in place, in the program's own stack frame: beside a classifier's calls there is no room for it.
    hook.short_lists = !(hook.rule_flags & PS_RULE_SOCKET) && !hook.classifiers && !(hook.then & PS_THEN_GO_ON) &&
                       std::all_of(hook.policy, hook.policy + hook.count, [](const ps_policy& p) { return p.rules <= PS_RULES_SHORT; });
    if (hook.short_lists)
      for (ps_policy& policy : std::span(hook.policy, hook.count)) std::copy_n(tables.rules.data() + policy.first_rule, policy.rules, policy.rule);
    hook.asks_again = asked[PS_SOURCE] > 1 || asked[PS_DESTINATION] > 1;
    if (hook.fragments) out.sizes["policy_fragments"] = PS_FRAGMENTS;
    if (hook.then & PS_THEN_COUNTS) out.sizes["policy_talkers"] = PS_TALKERS;
    out.hooks.push_back(hook);
  }
  out.tables.push_back(table("policy_rules", std::move(tables.rules), fmt::format("list, {} entries", tables.listed)));
  out.tables.push_back(table("policy_extras", tables.extras.entries(), {}));
  out.tables.push_back(table("policy_rejects", std::move(tables.rejects), {}));
  out.tables.push_back(table("classifiers", std::move(tables.classifiers), {}));
  std::string structure;
  if (tables.classified) structure = fmt::format("classifier, {} entries in {} tuples", tables.classified, tables.tuples);
  out.tables.push_back(table("classifier_lines", std::move(tables.lines), std::move(structure)));
  return out;
}

}  // namespace penstock
