// Builds the tables of a set from its elements; pure, no system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "features/sets/tables.h"

namespace penstock::sets {

// One prefix of a set.  The address is left aligned (tables.h) and has no host bits.
struct Element {
    std::uint64_t hi = 0, lo = 0;
    std::uint32_t id = 1;          // what a lookup returns, not 0; 1 for all in a set without ids
    std::uint8_t length = 0;       // counted from the top: 0..32 or 0..128
    bool ipv6 = false;

    static Element ipv4(std::uint32_t address, unsigned length, std::uint32_t id = 1)
    {
        return {std::uint64_t{address} << 32, 0, id, static_cast<std::uint8_t>(length), false};
    }
};

enum class Ids { no, yes };

// One address family of a set, ready to be copied into `set_lines` at any place: part.base is 0 and the
// copier sets it.
struct Table {
    set_part part{};
    std::vector<set_line> lines;
};

// Orders elements by family, address and length: a wider prefix stands before those that it covers.
void sort_elements(std::span<Element> elements);

// Builds the table of one family from its sorted elements, none of the other family among them.  Of
// elements with the same prefix the last decides.  Total: every input has a table.
Table build_table(std::span<const Element> sorted, Ids ids);

// Both families of a set: [0] IPv4, [1] IPv6.  Sorts the elements in place.
struct SetTables {
    Table part[2];
};
SetTables build_set(std::span<Element> elements, Ids ids);

// "empty", "linear", "blocks", "slots" or "tree".
std::string_view kind_name(std::uint32_t kind);

}  // namespace penstock::sets
