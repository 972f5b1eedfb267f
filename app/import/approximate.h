// Conditions on the state of connections, nearly: only where the user asks for it.
#pragma once
#include <string>
#include <vector>

#include "app/import/ruleset.h"

namespace penstock::foreign {

struct Approximation {
  Box box;
  std::string text;     // how it differs from the original; empty: not at all
};

// `box`, which asks for a state, told without one.  Where nothing comes near, the box itself.
std::vector<Approximation> approximate_state(const Box& box, Verdict verdict);

}  // namespace penstock::foreign
