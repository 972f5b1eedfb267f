// What programs of the level `basic` are told about time, since the coarse clock came with 5.11.
#pragma once
#include <linux/types.h>

// Symbol `clock_const` in .rodata: coarse monotonic clock, ns = jiffies * tick + origin.
struct ps_clock_const {
  __u64 tick;    // ns, 1/HZ
  __s64 origin;  // ns, as measured when the program was loaded; later slewing of the clock is not followed
};
