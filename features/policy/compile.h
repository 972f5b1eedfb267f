// Policies -> the tables of features/policy/tables.h.  Pure.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/plan/image.h"
#include "core/plan/set_registry.h"
#include "core/plan/slots.h"
#include "features/policy/config.h"
#include "features/policy/tables.h"

namespace penstock {

// Of a rule with `limit` (Rule::limited): what its entries say in the place of a slot, an index in map `limits`.  `over` is what a match
// is counted in, `banned` the same for the packets of a banned address, as ps_rule.slot says; `id` names the rule.
using LimitOf = std::function<uint32_t(const Rule& rule, uint32_t over, uint32_t banned, uint32_t id)>;

struct PolicyTables {
  std::vector<TableImage> tables;     // policy_rules, policy_extras, policy_rejects, classifiers, classifier_lines
  std::map<std::string, std::string> structures;  // by policy: what its rules became
  std::map<std::string, uint32_t> sizes;          // Image::sizes
  std::vector<ps_policy_const> hooks; // by interface, in the order given: the value of symbol `policy_const`
};

// `interfaces`: the file's names; policies attached to others are an error.  `max_entries`: PS_RULES_MAX_* of the
// instruction level that will be loaded, for policies that are walked entry by entry.  Errors: one of those with more,
// an interface with more than PS_POLICIES_MAX policies; both point at the file.
Result<PolicyTables> compile_policies(const std::vector<Policy>& policies, const std::vector<std::string>& interfaces,
                                      size_t max_entries, SetRegistry& sets, SlotTable& slots, const LimitOf& limit_of);

}  // namespace penstock
