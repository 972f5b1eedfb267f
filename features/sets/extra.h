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

// The inner map's content in pieces, so that it is copied once: into the map.
struct ExtraTable {
    set_extra_header header{};            // version and ids_of are the caller's
    std::vector<ExtraElement> elements;   // in the order of sort_elements
    std::vector<std::uint32_t> parents;   // by element number
    Table part[2];                        // [0] IPv4, [1] IPv6

    std::size_t size() const { return 1 + elements.size() + part[0].lines.size() + part[1].lines.size(); }  // lines
    void copy_to(std::span<set_line> lines) const;  // size() lines, whatever they held
    std::vector<set_line> lines() const;
};

// Of equal prefixes the last decides.  Expired elements are kept if given: leave them out to forget them.
ExtraTable build_extra(std::vector<ExtraElement> elements);

// The elements of an inner map's lines, in the order of sort_elements; none if they make no sense.
std::vector<ExtraElement> read_extra(std::span<const set_line> lines);

}  // namespace penstock::sets
