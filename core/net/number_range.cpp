#include "core/net/number_range.h"

#include <algorithm>

namespace penstock {

void merge(std::vector<NumberRange>& ranges) {
  std::ranges::sort(ranges);
  std::vector<NumberRange> out;
  for (const NumberRange& r : ranges) {
    if (!out.empty() && r.first <= out.back().last + 1u)
      out.back().last = std::max(out.back().last, r.last);
    else
      out.push_back(r);
  }
  ranges = std::move(out);
}

std::vector<NumberRange> complement(const std::vector<NumberRange>& ranges, uint16_t most) {
  std::vector<NumberRange> out;
  uint32_t next = 0;
  for (const NumberRange& r : ranges) {
    if (r.first > next) out.push_back({static_cast<uint16_t>(next), static_cast<uint16_t>(r.first - 1)});
    next = r.last + 1u;
  }
  if (next <= most) out.push_back({static_cast<uint16_t>(next), most});
  return out;
}

}  // namespace penstock
