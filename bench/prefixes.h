// Prefix lists of any size as real ones look, and addresses inside and outside of them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "features/sets/table.h"

namespace penstock::bench {

enum class Layout { spread, clustered };

// `count` different prefixes, ids 1..count, in random order.  The mix of lengths:
//   IPv4 spread     unicast space: /32 half, /24 30 %, /25../31 2 % each, /16../23 from 0.05 to 0.8 %,
//                   a few of each from /8 to /15 (2 to 128 of a million): 8 to 10 % of the space is listed
//   IPv4 clustered  inside 256 /16s: /32 72 %, /25../31 3.6 % each, /24 2 %, /17../23 a few thousand,
//                   and two of each from /8 to /16 elsewhere
//   IPv6 spread     2000::/3: /48 35 %, /64 30 %, /128 20 %, /56 10 %, all of /32../127 5 % together
//   IPv6 clustered  the same mix under 256 /32s
// Fewer than a million scale the counts down.
std::vector<sets::Element> prefixes(bool ipv6, Layout layout, std::size_t count, std::uint64_t seed);

using Source = std::array<std::uint8_t, 16>;

// One random address inside each prefix, in random order.
std::vector<Source> inside(std::span<const sets::Element> elements, std::uint64_t seed);

// `count` random addresses outside of all prefixes but where the prefixes are: in the unicast space, or
// within the clusters (the /16s or /32s that hold at least 100 of them).
std::vector<Source> outside(std::span<const sets::Element> elements, Layout layout, std::size_t count, std::uint64_t seed);

}  // namespace penstock::bench
