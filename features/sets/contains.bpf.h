// Is an address of the packet in a set: the elements of the file and those of run time together.
#pragma once
#include "bpf/state.bpf.h"
#include "features/sets/constants.h"
#include "features/sets/lookup.bpf.h"

const volatile struct ps_set_const set_const;

// Counts a hit where the set asks for it, of the longest prefix among both.  `set` is the index of `table` in map `sets`,
// `side` an enum ps_side.
static __always_inline int set_family_holds(__u32 set, const struct set_table *table, __u32 side, __u32 ipv6, __u64 hi, __u64 lo)
{
  const int counts = set_const.hits && table->flags & SET_HITS && writes();
  __u64 run_time = 0;
  if (set_const.run_time && table->number && set_has_extra(table)) {  // number 0: of nameless sets
    run_time = set_extra_find(table->number, ipv6, hi, lo, clock_now());
    if (run_time && !counts) {
      trace_event(PS_TRACE_SET_RUN_TIME, set, side, run_time >> 32);
      return 1;
    }
  }
  __u32 id = set_lookup(table, set_const.kinds, ipv6, hi, lo);
  if (counts) {
    if (run_time)
      id = set_more_specific(run_time, id);
    if (id)
      set_count_hit(set_const.hits_capacity, id);
  }
  if (!run_time)
    trace_event(PS_TRACE_SET, set, side, id != 0);
  else
    trace_event(PS_TRACE_SET_RUN_TIME, set, side, run_time >> 32);
  return id;
}

static __always_inline int set_table_holds(const struct ps_packet *p, __u32 set, const struct set_table *table, __u32 side)
{
  const struct ps_address *address = &p->outer.address[side & 1];
  // Two calls: the part of a family is at a place that the verifier knows.
  if (p->outer.flags & PS_IPV6)
    return set_family_holds(set, table, side, 1, address->hi, address->lo);
  return set_family_holds(set, table, side, 0, address->lo << 32, 0);  // left aligned
}

// In place, for a `set` (index in map `sets`) that the verifier knows: the first sets are constants.
static __always_inline int set_holds(const struct ps_packet *p, __u32 set, __u32 side)
{
  const struct set_table *table;
  if (set < SET_CONSTANTS) {
    table = (const struct set_table *)&set_const.table[set];
    asm volatile("" : "+r"(table));  // clang must not take the zeros of the object for the set
  } else {
    table = bpf_map_lookup_elem(&sets, &set);
  }
  return table ? set_table_holds(p, set, table, side) : 0;
}

// As a function of its own, so that the verifier walks it once, however often a loop asks.
__noinline int set_contains(__u32 set, __u32 side)
{
  const struct ps_packet *p = packet_scratch();
  const struct set_table *table = bpf_map_lookup_elem(&sets, &set);
  return p && table ? set_table_holds(p, set, table, side) : 0;
}
