// Whose hits are counted where.  Elements of sets with `counters: yes` have ids that outlive reloads: the list of owners
// (map `set_hit_owners`, table tables.h) belongs to a generation and is derived from the one before.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "features/sets/table.h"

namespace penstock::sets {

// Finds the place of an owner.  Refers to the owners, which the caller keeps; elements asked for in the order in which
// places were given are found without a search.
class HitIndex {
 public:
  explicit HitIndex(std::span<const set_hit_owner> owners) : owners_(owners) {}
  std::uint32_t find(std::uint32_t set, const Element& element) const;  // 0: it has no place

 private:
  void build() const;
  std::span<const set_hit_owner> owners_;
  mutable std::vector<std::uint32_t> slots_;  // open addressing, built by the first search; places, 0: empty
  mutable std::uint32_t guess_ = 1;
};

// Gives ids to the elements of a generation.  Pure.
class HitIds {
 public:
  // before: the owners of the generation that runs; empty where none does.
  explicit HitIds(std::vector<set_hit_owner> before);

  // Names elements of set `number`; the span must live until finish(), which fills in the ids.
  void name(std::uint32_t number, std::span<Element> elements);

  // The owners of the new generation; the size is the capacity of its counters.  An element keeps the id that it had.
  // Others get places that are free, or whose owner the running generation does not name either; where these do not
  // suffice the list grows.  Empty where nothing is counted.
  std::vector<set_hit_owner> finish();

 private:
  struct Named {
    std::uint32_t number;
    std::span<Element> elements;
  };
  std::vector<set_hit_owner> before_;
  std::vector<Named> named_;
};

set_hit_owner owner_of(std::uint32_t set, const Element& element);
bool same_owner(const set_hit_owner& a, const set_hit_owner& b);  // age apart

// The highest number of elements that can be counted, on a machine with this many counter lanes.
std::uint32_t most_hits(unsigned lanes);

}  // namespace penstock::sets
