// The time, as programs see it: nanoseconds of the monotonic clock, coarse (a tick), since the precise clock costs
// more than a whole packet.
#pragma once
#include "bpf/state.bpf.h"

static __always_inline __u64 clock_now(void)
{
  if (core_const.replay) {
    __u32 zero = 0;
    struct ps_replay *world = bpf_map_lookup_elem(&replay, &zero);
    return world ? world->now : 0;
  }
#ifdef PS_LEVEL_basic
  return bpf_ktime_get_ns();  // the coarse clock came with 5.11; jiffies have another origin
#else
  return bpf_ktime_get_coarse_ns();
#endif
}
