// One rule of iptables: its options.
#pragma once
#include <string>
#include <vector>

#include "app/import/ipset.h"
#include "app/import/lines.h"

namespace penstock::foreign {

// What a rule leans on.
struct RuleContext {
  bool v6 = false;
  const IpSets& ipsets;
  Ruleset& rules;           // named sets are added to it
};

// The options of `words` from `at` on, behind `-A CHAIN`.  Errors: an option without its value, a value that makes no
// sense.  What is well-formed but cannot be said has a reason.
Result<Line> read_options(const Lines& lines, const std::vector<Word>& words, size_t at, RuleContext& context);

}  // namespace penstock::foreign
