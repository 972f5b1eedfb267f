#include "app/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "features/policy/coverage.h"

namespace penstock {
namespace {

constexpr size_t most_named = 4;  // rules in one message

std::string names_of(const std::vector<const Rule*>& rules) {
  std::string out;
  for (size_t i = 0; i < rules.size() && i < most_named; ++i) {
    const bool last = i + 1 == rules.size();
    out += fmt::format("{}`{}` ({})", i == 0 ? "" : last ? " and " : ", ", rules[i]->name, rules[i]->at.text());
  }
  if (rules.size() > most_named) out += fmt::format(" and {} more", rules.size() - most_named);
  return out;
}

Diagnostic never_text(const Policy& policy, const NeverMatches& n) {
  Diagnostic d;
  d.at = n.rule->at;
  const std::string rule = fmt::format("the rule {}/{} can never match", policy.name, n.rule->name);
  if (n.by.empty()) {
    d.message = rule + ": no packet has all that it asks for";
    d.hint = "source, destination and protocol must be of one family";
    return d;
  }
  const bool same = std::ranges::all_of(n.by, [&](const Rule* r) { return r->action == n.rule->action; });
  d.message = n.by.size() == 1 ? fmt::format("{}: {} matches before it all that it does", rule, names_of(n.by))
                               : fmt::format("{}: together {} match before it all that it does", rule, names_of(n.by));
  d.hint = same ? "remove it" : "move it to the front, or remove it";
  if (n.as_sets_stand) d.hint += "; as the sets stand now: elements added at run time may still match";
  return d;
}

}  // namespace

RuleFindings find_rule_findings(const Config& config) {
  RuleFindings out;
  std::unordered_map<std::string, const std::vector<Prefix>*> sets;
  for (const Set& set : config.sets) sets[set.name] = &set.prefixes;
  const PrefixesOf prefixes_of = [&](const std::string& name) -> const std::vector<Prefix>* {
    const auto found = sets.find(name);
    return found == sets.end() ? nullptr : found->second;
  };
  for (const Policy& policy : config.policies) {
    const Coverage coverage = find_coverage(policy, prefixes_of);
    for (const NeverMatches& n : coverage.never) out.warnings.push_back(never_text(policy, n));
    if (coverage.compared < policy.rules.size()) {
      Diagnostic d{fmt::format("the policy {} has too many rules that are alike: the {} rules from here on were not compared with those before", policy.name, policy.rules.size() - coverage.compared)};
      d.at = policy.rules[coverage.compared].at;
      out.warnings.push_back(std::move(d));
    }
    out.conflict_count += coverage.pair_count;
    // One for each later rule.
    for (size_t i = 0; i < coverage.pairs.size();) {
      std::vector<const Rule*> firsts;
      const Rule* second = coverage.pairs[i].second;
      for (; i < coverage.pairs.size() && coverage.pairs[i].second == second; ++i) firsts.push_back(coverage.pairs[i].first);
      Diagnostic d{fmt::format("the rule {}/{} and before it {} match some of the same packets and say the opposite: their order decides", policy.name, second->name, names_of(firsts))};
      d.at = second->at;
      out.conflicts.push_back(std::move(d));
    }
  }
  return out;
}

}  // namespace penstock
