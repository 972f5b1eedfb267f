// The address space as a sequence of intervals: what all tables but the smallest are built from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "features/sets/table.h"

namespace penstock::sets {

using Address = unsigned __int128;  // left aligned

// From `start` to the next interval's start (the last one: to the end of the space), the element `id`
// decides; 0: none does.
struct Interval {
    std::uint64_t hi, lo;
    std::uint32_t id;

    Address start() const { return Address{hi} << 64 | lo; }
};

// Cuts the space at the edges of the prefixes and keeps the longest one of each piece.  The first
// interval starts at 0; neighbours have different ids.
std::vector<Interval> flatten(std::span<const Element> sorted, Ids ids);

Table build_linear(std::span<const Element> sorted);
std::optional<Table> build_blocks(std::span<const Interval> intervals);  // IPv4, no ids; nothing: too many for this kind
Table build_slots(std::span<const Interval> intervals);   // IPv4, with ids
Table build_tree(std::span<const Interval> intervals, Ids ids);

}  // namespace penstock::sets
