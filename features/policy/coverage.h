// Rules that can never match because of those before them, and rules whose order decides.  Pure; a packet is never run.
//
// A rule is a product: source addresses x destination addresses x ports x protocol, in each family, and whatever else it
// asks for.  So one rule covers another if and only if each factor does.  That several rules together cover one is found by
// cutting boxes out of it, up to a bound: what is not found is not reported, what is reported is so.  Of keys that are no
// factor here only their equality counts.
#pragma once
#include <functional>
#include <vector>

#include "features/policy/config.h"

namespace penstock {

struct NeverMatches {
  const Rule* rule = nullptr;
  std::vector<const Rule*> by;   // in order; empty: it contradicts itself
  bool as_sets_stand = false;    // true only as long as nobody adds elements to sets at run time
};

// Both match some packets, each matches some that the other does not, and their actions differ.
struct OrderDecides {
  const Rule* first = nullptr;
  const Rule* second = nullptr;
};

struct Coverage {
  std::vector<NeverMatches> never;
  std::vector<OrderDecides> pairs;   // the first most_pairs
  size_t pair_count = 0;
  size_t compared = 0;               // rules from the first on that were compared with all before them; fewer than there
                                     // are where that would take too long
};
inline constexpr size_t most_pairs = 1000;

// The prefixes of a set of the file, sorted; null where there is no such set.
using PrefixesOf = std::function<const std::vector<Prefix>*(const std::string& set)>;

Coverage find_coverage(const Policy& policy, const PrefixesOf& prefixes_of);

}  // namespace penstock
