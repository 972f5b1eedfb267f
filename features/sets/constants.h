// What programs are told about sets as a whole.
#pragma once
#include <linux/types.h>

// Symbol `set_const` in .rodata.
struct ps_set_const {
  __u32 hits_capacity;  // counters in each lane of map `set_hits`
  __u8 run_time;        // 1: sets may have run-time elements (maps set_extra, set_extra_counts)
  __u8 pad[3];
};
