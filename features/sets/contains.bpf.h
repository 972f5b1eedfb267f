// Is an address of the packet in a set: the elements of the file and those of run time together.
#pragma once
#include "bpf/state.bpf.h"
#include "features/sets/constants.h"
#include "features/sets/lookup.bpf.h"

const volatile struct ps_set_const set_const;

// `set` is an index in map `sets`, `side` an enum ps_side.  Counts a hit where the set asks for it, of the longest prefix
// among both.
static __always_inline int set_holds(const struct ps_packet *p, __u32 set, __u32 side)
{
  const struct set_table *table = bpf_map_lookup_elem(&sets, &set);
  if (!table)
    return 0;
  const struct ps_address *address = &p->outer.address[side & 1];
  const __u32 ipv6 = !!(p->outer.flags & PS_IPV6);
  const __u64 hi = ipv6 ? address->hi : address->lo << 32;  // left aligned
  const __u64 lo = ipv6 ? address->lo : 0;
  const int counts = set_const.hits && table->flags & SET_HITS && writes();
  __u64 run_time = 0;
  if (set_const.run_time && set_has_extra(table))
    run_time = set_extra_find(table->number, ipv6, hi, lo, clock_now());
  if (run_time && !counts) {
    trace_event(PS_TRACE_SET_RUN_TIME, set, side, run_time >> 32);
    return 1;
  }
  __u32 id = set_lookup(table, set_const.kinds, ipv6, hi, lo);
  if (run_time)
    id = set_more_specific(run_time, id);
  if (id && counts)
    set_count_hit(set_const.hits_capacity, id);
  if (!run_time)
    trace_event(PS_TRACE_SET, set, side, id != 0);
  else
    trace_event(PS_TRACE_SET_RUN_TIME, set, side, run_time >> 32);
  return id != 0;
}

// The same as a function of its own, so that the verifier walks it once, however often a loop asks.
__noinline int set_contains(__u32 set, __u32 side)
{
  const struct ps_packet *p = packet_scratch();
  return p ? set_holds(p, set, side) : 0;
}
