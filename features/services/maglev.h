// Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4).  Pure.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace penstock {

inline constexpr uint32_t most_ring_size = 1'048'573;

bool is_prime(uint32_t number);
uint32_t prime_from(uint32_t number);          // the least prime that is not smaller
// The size for so many backends: a prime, a hundred places for each where it can be.
uint32_t ring_size_for(size_t backends);

struct Place {
  uint32_t offset = 0, skip = 1;               // offset < size, 1 <= skip < size
};
// Of a backend, from its name: two independent hashes, FNV-1a of 64 bits finished by service_mix() with two seeds; so the same
// file makes the same table on every machine.
Place place_of(std::string_view name, uint32_t size);

struct RingMember {
  Place place;
  uint32_t weight = 1;                         // 0: not in the table
  uint32_t id = 0;                             // what the table holds
};
// `size` ids, `size` a prime; empty where no member has a weight.  In each round a member takes a place of its permutation as
// often as its weight says, in proportion to the largest: with equal weights the paper's table.
std::vector<uint32_t> maglev(std::span<const RingMember> members, uint32_t size);

// `size` ids, each as often as its weight says, spread evenly (smooth weighted round robin); empty likewise.
std::vector<uint32_t> round_robin(std::span<const RingMember> members, uint32_t size);

}  // namespace penstock
