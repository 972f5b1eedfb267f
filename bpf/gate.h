// The gate: for as long as a change waits to be confirmed it stands at each hook and chooses, packet by packet,
// between the candidate and the previous generation.  One word for all gates: a change is active, and undone,
// everywhere at one instant.
#pragma once
#include "bpf/types.h"

// Map `txn`, one entry, mapped by user space.  A gate runs the candidate while start <= now < deadline.
struct ps_txn {
  __u64 deadline;  // coarse monotonic clock, ns; 0: not switched yet, PS_GATE_FOREVER: confirmed
  __u64 from;      // generations, for whoever finds this map after a crash; 0: none
  __u64 to;
  __u64 start;     // coarse monotonic clock, ns; PS_GATE_FOREVER: not known yet
  __u64 window;    // ns around both instants in which journeys are followed; 0: no packet passes two hooks
};
#define PS_GATE_FOREVER (~0ull)

// A deadline is even.  Whoever first sees that it has passed, gate or command, sets this bit by compare-and-swap: from
// then on nobody can confirm, so no packet is judged by the candidate after one that was judged by what came back.
#define PS_GATE_CLOSED 1ull

// How long before an instant gates write journeys down, and how long after it they look them up, ns: a packet may take
// this long, less a tick of the clock, from one hook to the next.
#define PS_GATE_WINDOW 24000000ull

// Map `journeys`: which hook met a packet first and which generation judged it there.  A line of the cache: the number
// of entries ever written to it, and the newest seven of these.
#define PS_JOURNEY_LINES 32768
struct ps_journey_line {
  __u64 word[8];   // [0] count; [1..7] fingerprint (55 bits), candidate (1 bit), hook (8 bits)
};

// Constants of a gate (symbol `gate_const`): entries 2 * hook (previous) and 2 * hook + 1 (candidate) of `programs`.
// An empty entry passes the packet: nothing was attached before, or nothing is to be attached now.
struct ps_gate_const {
  __u32 hook;
  __u32 raw;       // 1: the device's frames begin with the IP header
  __u64 window;    // as in ps_txn
  __u64 seed;      // of the fingerprints
};
#define PS_GATE_HOOKS 256
