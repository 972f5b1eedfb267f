// The maps and constants that every program has, and the counting of exits.
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/clock.bpf.h"
#include "bpf/counters.h"
#include "bpf/hook.h"
#include "bpf/packet.h"

const volatile struct ps_core_const core_const;
const volatile struct ps_hook_const hook_const;

// The loader sets the size: counter_lanes * counter_stride.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_counter);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_packet);
} scratch SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_trace);
} trace SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_replay);
} replay SEC(".maps");

// The packet that this CPU is working on; never NULL in truth, but the verifier wants to see the check.
static __always_inline struct ps_packet *packet_scratch(void)
{
  __u32 zero = 0;
  return bpf_map_lookup_elem(&scratch, &zero);
}

// The time that stages compare with: the clock, or in replay the capture's.
static __always_inline __u64 clock_now(void)
{
  if (!core_const.replay)
    return clock_coarse();
  __u32 zero = 0;
  struct ps_replay *world = bpf_map_lookup_elem(&replay, &zero);
  return world ? world->now : 0;
}

static __always_inline void trace_begin(void)
{
  if (!core_const.trace)
    return;
  __u32 zero = 0;
  struct ps_trace *t = bpf_map_lookup_elem(&trace, &zero);
  if (t)
    t->count = 0;
}

static __always_inline void trace_slot(__u32 slot)
{
  if (!core_const.trace)
    return;
  __u32 zero = 0;
  struct ps_trace *t = bpf_map_lookup_elem(&trace, &zero);
  if (!t)
    return;
  const __u32 at = t->count;
  if (at < PS_TRACE_SLOTS) {
    t->slots[at] = slot;
    t->count = at + 1;
  } else {
    t->slots[PS_TRACE_SLOTS - 1] = slot;
  }
}

// Counts one frame of `length` bytes in `slot` of this CPU's lane.  No atomics: the lane has no other writer.
static __always_inline void count(__u32 slot, __u32 length)
{
  if (!core_const.no_write) {
    __u32 at = bpf_get_smp_processor_id() * core_const.counter_stride + slot;
    struct ps_counter *counter = bpf_map_lookup_elem(&counters, &at);
    if (counter) {
      counter->packets++;
      counter->bytes += length;
    }
  }
  trace_slot(slot);
}
