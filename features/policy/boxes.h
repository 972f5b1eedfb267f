// What rules match, as sets of points: spans of addresses and numbers, and boxes of them.  For coverage.cpp.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace penstock {

using Wide = unsigned __int128;

struct Span {
  Wide first = 0, last = 0;  // inclusive
  bool operator==(const Span&) const = default;
};
using Spans = std::vector<Span>;  // sorted, disjoint, not adjacent

void merge(Spans& spans);
Spans complement(const Spans& spans, Wide last);             // of [0, last]
bool contains(const Spans& outer, const Spans& inner);
bool overlap(const Spans& a, const Spans& b);
Spans common(const Spans& a, const Spans& b);

enum BoxSides { BOX_SOURCE, BOX_DESTINATION, BOX_SOURCE_PORT, BOX_DESTINATION_PORT, BOX_PROTOCOL, BOX_PORTLESS, BOX_SIDES };
using Box = std::array<Span, BOX_SIDES>;

// Cuts `hole` out of `boxes`; false: nothing was in it.
bool cut(std::vector<Box>& boxes, const Box& hole);

}  // namespace penstock
