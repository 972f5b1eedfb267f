// The coarse monotonic clock, ns, a tick fine: the precise clock costs more than a whole packet.
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/clock.h"

#ifdef PS_LEVEL_basic
const volatile struct ps_clock_const clock_const;
#endif

static __always_inline __u64 clock_coarse(void)
{
#ifdef PS_LEVEL_basic
  return bpf_jiffies64() * clock_const.tick + clock_const.origin;
#else
  return bpf_ktime_get_coarse_ns();
#endif
}
