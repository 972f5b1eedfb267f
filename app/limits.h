// Limits together with the rules that they belong to.
#pragma once
#include <string>
#include <vector>

#include "app/config.h"
#include "core/config/reader.h"
#include "core/plan/slots.h"
#include "features/limits/explain.h"
#include "features/limits/state.h"

namespace penstock {

// Refuses what contradicts itself; adds to config.warnings where a ban would let strangers ban others.
Result<> verify_limits(const Document& document, Config& config);

// A limit of a generation, and the rule's name as POLICY/RULE.
struct RuleLimit {
  std::string name;
  ps_limit limit{};
};
std::vector<RuleLimit> rule_limits(const LiveLimits& live, const std::vector<Slot>& slots);

// The limit of a rule by its ps_limit.id.  Both must outlive the function.
LimitById limit_by_id(const Config& config, const std::vector<Slot>& slots);

}  // namespace penstock
