// The gate: for as long as a change waits to be confirmed it stands at each hook and chooses, packet by packet,
// between the candidate and the previous generation.  One word for all gates: a change is active, and undone,
// everywhere at one instant.
#pragma once
#include "bpf/types.h"

// Map `txn`, one entry, mapped by user space.  A gate runs the candidate while now < deadline:
// 0 not switched yet, PS_GATE_TAKEN_BACK not any more (long past), PS_GATE_FOREVER always (confirmed).
struct ps_txn {
  __u64 deadline;  // coarse monotonic clock, ns
  __u64 from;      // generations, for whoever finds this map after a crash; 0: none
  __u64 to;
  __u64 armed_at;  // coarse monotonic clock, ns
};
#define PS_GATE_TAKEN_BACK 1ull
#define PS_GATE_FOREVER (~0ull)

// Constants of a gate (symbol `gate_const`): entries 2 * hook (previous) and 2 * hook + 1 (candidate) of `programs`.
// An empty entry passes the packet: nothing was attached before, or nothing is to be attached now.
struct ps_gate_const {
  __u32 hook;
};
#define PS_GATE_HOOKS 256
