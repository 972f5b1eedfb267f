// Builds the table of a set's run-time elements (tables.h: set_extra_header); pure, no system call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "features/sets/table.h"

namespace penstock::sets {

struct ExtraElement {
    Element prefix;            // its id: what a lookup returns, not 0
    std::uint64_t expiry = 0;  // ns of the coarse monotonic clock; 0: never
};

// All lines of the inner map, sized to fit: swap it in whole.  Of equal prefixes the last decides.
// Expired elements are kept if given: leave them out to forget them.
std::vector<set_line> build_extra(std::vector<ExtraElement> elements);

// The elements of an inner map's lines, in the order of sort_elements; none if they make no sense.
std::vector<ExtraElement> read_extra(std::span<const set_line> lines);

}  // namespace penstock::sets
