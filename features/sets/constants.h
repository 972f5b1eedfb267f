// What programs are told about sets as a whole.
#pragma once
#include <linux/types.h>

// Symbol `set_const` in .rodata.
struct ps_set_const {
  __u32 hits_capacity;  // counters in each lane of map `set_hits`
  __u8 run_time;        // 1: sets may have run-time elements (maps set_extra, set_extra_counts)
  __u8 kinds;           // bit n: a part of some set is of kind n (enum set_kind)
  __u8 hits;            // 1: some set counts hits per element
  __u8 pad;
};
