// Hashes that tables of services are made and read by: the same in C and in C++, on every machine.
#pragma once
#include "bpf/packet.h"

// A bijection of 64 bits that leaves no pattern (the finalizer of MurmurHash3, public domain).
static inline __attribute__((always_inline)) __u64 service_mix(__u64 x)
{
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

// Of a frontend, or of an address (`protocol` and `port` 0).
static inline __attribute__((always_inline)) __u64 service_frontend_hash(const struct ps_address *a, __u32 protocol, __u32 port)
{
  return service_mix((a->hi * 0x9e3779b97f4a7c15ull ^ a->lo) + ((__u64)protocol << 56 | (__u64)port << 40));
}

// Of a connection: where in a ring its packets look for their backend.  `client`: by the client's address alone.  Not keyed:
// nodes with the same file choose alike.
static inline __attribute__((always_inline)) __u64 service_ring_hash(const struct ps_address *source, const struct ps_address *destination, __u32 ports, __u32 protocol, int client)
{
  __u64 h = service_mix(source->hi ^ 0x5851f42d4c957f2dull);
  h = service_mix(h ^ source->lo);
  if (client)
    return h;
  h = service_mix(h ^ destination->hi);
  h = service_mix(h ^ destination->lo);
  return service_mix(h ^ ((__u64)protocol << 32 | ports));
}
