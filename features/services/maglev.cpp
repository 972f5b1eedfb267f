#include "features/services/maglev.h"

#include <algorithm>

#include "features/services/hash.h"

namespace penstock {
namespace {

constexpr uint32_t sizes[] = {251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071, 262139, 524287, most_ring_size};
constexpr size_t places_each = 100;

uint64_t hash_of(std::string_view name, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return service_mix(h ^ seed);
}

}  // namespace

bool is_prime(uint32_t number) {
  if (number < 2) return false;
  for (uint32_t d = 2; uint64_t{d} * d <= number; ++d)
    if (number % d == 0) return false;
  return true;
}

uint32_t prime_from(uint32_t number) {
  while (!is_prime(number)) ++number;
  return number;
}

uint32_t ring_size_for(size_t backends) {
  const auto found = std::ranges::find_if(sizes, [&](uint32_t size) { return size >= backends * places_each; });
  return found == std::end(sizes) ? most_ring_size : *found;
}

Place place_of(std::string_view name, uint32_t size) {
  return {static_cast<uint32_t>(hash_of(name, 0x243f6a8885a308d3) % size), static_cast<uint32_t>(hash_of(name, 0x13198a2e03707344) % (size - 1)) + 1};
}

std::vector<uint32_t> maglev(std::span<const RingMember> members, uint32_t size) {
  uint32_t heaviest = 0;
  for (const RingMember& m : members) heaviest = std::max(heaviest, m.weight);
  if (heaviest == 0) return {};
  std::vector<uint32_t> table(size);
  std::vector<bool> taken(size);
  std::vector<uint64_t> at(members.size());                // place * skip may exceed 32 bits
  std::vector<uint64_t> due(members.size());
  for (size_t i = 0; i < members.size(); ++i) at[i] = members[i].place.offset;
  for (uint32_t filled = 0;;) {
    for (size_t i = 0; i < members.size(); ++i) {
      due[i] += members[i].weight;
      if (due[i] < heaviest) continue;
      due[i] -= heaviest;
      while (taken[at[i]]) at[i] = (at[i] + members[i].place.skip) % size;
      table[at[i]] = members[i].id;
      taken[at[i]] = true;
      if (++filled == size) return table;
    }
  }
}

std::vector<uint32_t> round_robin(std::span<const RingMember> members, uint32_t size) {
  int64_t total = 0;
  for (const RingMember& m : members) total += m.weight;
  if (total == 0) return {};
  std::vector<uint32_t> out(size);
  std::vector<int64_t> due(members.size());
  for (uint32_t& id : out) {
    size_t best = members.size();
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i].weight == 0) continue;
      due[i] += members[i].weight;
      if (best == members.size() || due[i] > due[best]) best = i;
    }
    due[best] -= total;
    id = members[best].id;
  }
  return out;
}

}  // namespace penstock
