// What `check` says about rules that stand in each other's way.
#pragma once
#include <vector>

#include "app/config.h"

namespace penstock {

struct RuleFindings {
  std::vector<Diagnostic> warnings;    // rules that can never match, in the order of the file
  std::vector<Diagnostic> conflicts;   // rules whose order decides, at the later one; not wrong by themselves
  size_t conflict_count = 0;           // pairs, those beyond the ones in `conflicts` too
};

RuleFindings find_rule_findings(const Config& config);

}  // namespace penstock
