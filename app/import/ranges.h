// Sets of numbers as sorted ranges: every field of a packet that a foreign rule can ask for is one such number.
#pragma once
#include <memory>
#include <vector>

#include "core/net/address.h"

namespace penstock::foreign {

__extension__ typedef unsigned __int128 Value;  // an address is 128 bits, everything else is less

struct Range {
  Value first = 0, last = 0;  // inclusive
  bool operator==(const Range&) const = default;
};

class Ranges {
 public:
  Ranges() = default;                       // no number at all
  Ranges(Value first, Value last);
  explicit Ranges(std::vector<Range> list);  // in any order, may overlap; first <= last in each

  bool empty() const { return list().empty(); }
  const std::vector<Range>& list() const;
  bool contains(Value value) const;
  Value count() const;                      // how many numbers; the whole of 128 bits counts as 0
  bool operator==(const Ranges& other) const { return list_ == other.list_ || list() == other.list(); }

  Ranges operator&(const Ranges& other) const;
  Ranges operator|(const Ranges& other) const;
  Ranges without(const Ranges& other) const;
  Ranges complement(Value most) const;      // in 0..most

 private:
  using List = std::shared_ptr<const std::vector<Range>>;
  explicit Ranges(List list) : list_(std::move(list)) {}
  static Ranges sorted(std::vector<Range> list);  // that may overlap or touch

  List list_;                               // sorted, disjoint, not adjacent; shared by copies; null: none
};

// Addresses as numbers: IPv4 lies in ::ffff:0:0/96, as in core/net/address.h.
constexpr Value most_address = ~Value{0};
constexpr Value value_of(const Address& a) { return Value{a.hi} << 64 | a.lo; }
constexpr Address address_of(Value v) { return {static_cast<uint64_t>(v >> 64), static_cast<uint64_t>(v)}; }
Ranges values_of(const Prefix& prefix);
const Ranges& all_v4();
const Ranges& all_v6();                     // everything else
// The fewest prefixes that hold the same addresses.  An IPv6 prefix never matches an IPv4 packet, so all of IPv6 is ::/0.
std::vector<Prefix> prefixes_of(const Ranges& addresses);

}  // namespace penstock::foreign
