// Ranges of the numbers that headers carry: ports, VLANs, DSCP, lengths.
#pragma once
#include <cstdint>
#include <vector>

namespace penstock {

struct NumberRange {
  uint16_t first = 0;
  uint16_t last = 65535;  // inclusive
  auto operator<=>(const NumberRange&) const = default;
};

// Sorts and joins: sorted, disjoint, not adjacent.
void merge(std::vector<NumberRange>& ranges);

// What of 0 to `most` lies in none of `ranges`, which are merged.
std::vector<NumberRange> complement(const std::vector<NumberRange>& ranges, uint16_t most);

}  // namespace penstock
