// Buckets of the tree (tables.h): many prefixes without ids told by a few bits each.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "features/sets/intervals.h"

namespace penstock::sets {

// 2^size addresses from `from`.
struct Range {
    Address from;
    unsigned size;
    Address end() const { return from + (Address{1} << size); }  // 0: the end of the space
};

// The intervals of from..end-1, the first of which may begin earlier; `rest` then begins with the one that covers `end` or
// precedes it.
std::span<const Interval> take(std::span<const Interval>& rest, Address from, Address end);

// How many bits of an address choose the bucket, and how many more tell it there.
struct BucketShape {
    unsigned bits, cell_bits;
};

using Record = std::array<std::uint64_t, 2>;

// The bucket for a part of the space: its line, word[0] without the place of the records, and its records.  False: there is
// more in it than a bucket holds.
bool fill_bucket(const Range& part, unsigned cell_bits, std::span<const Interval> inside, set_line& line, std::vector<Record>& records);

// A shape of buckets for the block that most of its intervals fit into, if there is one.
std::optional<BucketShape> bucket_shape(const Range& block, std::span<const Interval> here);

}  // namespace penstock::sets
