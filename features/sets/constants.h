// What programs are told about sets as a whole.
#pragma once
#include <linux/types.h>

#include "features/sets/tables.h"

#define SET_CONSTANTS 4

// Symbol `set_const` in .rodata.
struct ps_set_const {
  __u32 hits_capacity;  // counters in each lane of map `set_hits`
  __u8 run_time;        // 1: sets may have run-time elements (maps set_extra, set_extra_counts)
  __u8 kinds;           // bit n: a part of some set is of kind n (enum set_kind)
  __u8 hits;            // 1: some set counts hits per element
  __u8 pad;
  struct set_table table[SET_CONSTANTS];  // the first of map `sets`: the verifier folds what they say
};
