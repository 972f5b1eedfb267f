#include "features/sets/hits.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace penstock::sets {
namespace {

// Room for elements that are added while the generation runs.
constexpr size_t spare_places(size_t used) { return std::max<size_t>(4096, used / 2); }

size_t hash_of(const set_hit_owner& o) {
  uint64_t h = o.hi * 0x9e3779b97f4a7c15u ^ std::rotl(o.lo * 0xc2b2ae3d27d4eb4fu, 31) ^ (uint64_t{o.set} << 16 | uint64_t{o.length} << 8 | o.ipv6) * 0x165667b19e3779f9u;
  h ^= h >> 32;
  h *= 0x9fb21c651e98df25u;
  return h ^ h >> 29;
}

// Places of owners by what they own.  The owners may move, so each call is given them.
void insert(std::vector<uint32_t>& slots, const set_hit_owner& owner, uint32_t place) {
  const size_t mask = slots.size() - 1;
  size_t at = hash_of(owner) & mask;
  while (slots[at] != 0) at = (at + 1) & mask;
  slots[at] = place;
}

uint32_t search(const std::vector<uint32_t>& slots, std::span<const set_hit_owner> owners, const set_hit_owner& owner) {
  const size_t mask = slots.size() - 1;
  for (size_t at = hash_of(owner) & mask; slots[at] != 0; at = (at + 1) & mask)
    if (same_owner(owners[slots[at]], owner)) return slots[at];
  return 0;
}

std::vector<uint32_t> index_of(std::span<const set_hit_owner> owners, size_t more) {
  std::vector<uint32_t> slots(std::bit_ceil(2 * (owners.size() + more) + 16));
  for (uint32_t place = 1; place < owners.size(); ++place)
    if (owners[place].set != 0) insert(slots, owners[place], place);
  return slots;
}

}  // namespace

set_hit_owner owner_of(uint32_t set, const Element& element) {
  return {element.hi, element.lo, static_cast<uint16_t>(set + 1), element.length, element.ipv6, 0};
}

bool same_owner(const set_hit_owner& a, const set_hit_owner& b) {
  return a.hi == b.hi && a.lo == b.lo && a.set == b.set && a.length == b.length && a.ipv6 == b.ipv6;
}

uint32_t most_hits(unsigned lanes) { return std::numeric_limits<uint32_t>::max() / lanes; }

void HitIndex::build() const { slots_ = index_of(owners_, 0); }

uint32_t HitIndex::find(uint32_t set, const Element& element) const {
  const set_hit_owner wanted = owner_of(set, element);
  uint32_t place = 0;
  if (guess_ < owners_.size() && same_owner(owners_[guess_], wanted)) {
    place = guess_;
  } else {
    if (slots_.empty()) build();
    place = search(slots_, owners_, wanted);
  }
  if (place != 0) guess_ = place + 1;
  return place;
}

HitIds::HitIds(std::vector<set_hit_owner> before) : before_(std::move(before)) {}

void HitIds::name(uint32_t number, std::span<Element> elements) { named_.push_back({number, elements}); }

std::vector<set_hit_owner> HitIds::finish() {
  if (named_.empty()) return {};
  std::vector<bool> kept(before_.size());
  size_t unknown = 0;
  {
    const HitIndex known(before_);
    for (const Named& n : named_)
      for (Element& e : n.elements) {
        e.id = known.find(n.number, e);
        if (e.id != 0) kept[e.id] = true;
        else ++unknown;
      }
  }
  std::vector<set_hit_owner> after = before_;
  if (after.empty()) after.resize(1);  // id 0 means "no element"
  std::vector<uint32_t> free;          // lowest last
  size_t used = 0;
  for (size_t place = before_.size(); place-- > 1;) {
    set_hit_owner& o = after[place];
    if (kept[place]) {
      o.age = 0;
      ++used;
    } else if (o.set == 0 || o.age > 0) {
      if (free.size() < unknown + spare_places(0)) free.push_back(static_cast<uint32_t>(place));
      if (o.set != 0 && o.age < std::numeric_limits<uint32_t>::max()) ++o.age;
    } else {
      o.age = 1;  // the running generation still counts here
      ++used;
    }
  }
  if (free.size() < unknown) {
    const size_t had = after.size();
    after.resize((used + unknown + spare_places(used + unknown) + 4096) / 4096 * 4096);
    after.resize(std::max(had, after.size()));
    std::vector<uint32_t> places;
    for (size_t place = after.size(); place-- > had;) places.push_back(static_cast<uint32_t>(place));
    places.insert(places.end(), free.begin(), free.end());
    free = std::move(places);
  }
  if (unknown == 0) return after;
  // A prefix may be named twice, by the file and at run time.
  std::vector<uint32_t> slots(std::bit_ceil(2 * unknown + 16));
  for (const Named& n : named_)
    for (Element& e : n.elements) {
      if (e.id != 0) continue;
      const set_hit_owner owner = owner_of(n.number, e);
      e.id = search(slots, after, owner);
      if (e.id != 0) continue;
      e.id = free.back();
      free.pop_back();
      after[e.id] = owner;
      insert(slots, owner, e.id);
    }
  return after;
}

}  // namespace penstock::sets
