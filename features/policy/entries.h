// A rule -> entries of an ordered list, each a conjunction of tests.  Pure.
#pragma once
#include <vector>

#include "core/plan/set_registry.h"
#include "features/policy/classifier.h"
#include "features/policy/extras.h"

namespace penstock {

// What becomes of a packet that a rule matches.
struct Outcome {
  uint8_t verdict = 0;  // of ps_rule
  uint8_t then = 0;     // enum ps_then
  uint32_t slot = 0;    // of ps_rule
};

struct EntryOptions {
  const InterfaceNumbers& interfaces;
  size_t listed;        // of the prefixes that a rule lists for a side, so many at most are told one by one, more as a set
};

// Appends the entries of one rule.  A positive match on several things multiplies entries; a negative one on several
// ("in none of them") puts an entry for each in front, which skips the rule.  False: more than `room` entries.
bool append_rule(const Rule& rule, const Outcome& outcome, size_t room, const EntryOptions& options, SetRegistry& sets,
                 ExtraTable& extras, std::vector<ClassifierRule>& out);

}  // namespace penstock
