// The maps and constants that every program has, and the counting of exits.
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/clock.bpf.h"
#include "bpf/counters.h"
#include "bpf/hook.h"
#include "bpf/packet.h"
#include "bpf/trace.h"

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

// May this program change state?  Every stage asks before it writes to a map that outlives the packet.
static __always_inline int writes(void)
{
  return !core_const.no_write;
}

static __always_inline struct ps_trace *trace_of(enum ps_trace_level level)
{
  if (core_const.trace < level)
    return 0;
  __u32 zero = 0;  // here, or every packet writes it
  return bpf_map_lookup_elem(&trace, &zero);
}

static __always_inline void trace_begin(void)
{
  struct ps_trace *t = trace_of(PS_TRACE_EXITS);
  if (t)
    t->slots = t->events = 0;
}

static __always_inline void trace_put_event(struct ps_trace *t, __u32 kind, __u32 a, __u32 b, __u32 c)
{
  const __u32 at = t->events++;
  if (at >= PS_TRACE_EVENTS_MAX)
    return;
  struct ps_trace_event *event = &t->event[at & (PS_TRACE_EVENTS_MAX - 1)];
  event->kind = kind;
  event->value[0] = a;
  event->value[1] = b;
  event->value[2] = c;
}

// Functions of their own, so that nothing of them is left in a program that tells nothing.  They call no other: the
// kernel counts the frames that could be, eight at most.
__noinline int trace_write_event(__u32 kind, __u32 a, __u32 b, __u32 c)
{
  struct ps_trace *t = trace_of(PS_TRACE_EVENTS);
  if (t)
    trace_put_event(t, kind, a, b, c);
  return 0;
}

// Tells what a stage found out; what the values mean is said in bpf/trace.def.
static __always_inline void trace_event(enum ps_trace_kind kind, __u32 a, __u32 b, __u32 c)
{
  if (core_const.trace >= PS_TRACE_EVENTS)
    trace_write_event(kind, a, b, c);
}

__noinline int trace_write_packet(void)
{
  struct ps_trace *t = trace_of(PS_TRACE_EVENTS);
  const struct ps_packet *p = packet_scratch();
  if (t && p)
    t->packet = *p;
  return 0;
}

// Tells the packet as it is known now.
static __always_inline void trace_packet(void)
{
  if (core_const.trace >= PS_TRACE_EVENTS)
    trace_write_packet();
}

__noinline int trace_write_slot(__u32 slot)
{
  struct ps_trace *t = trace_of(PS_TRACE_EXITS);
  if (!t)
    return 0;
  if (t->slots < PS_TRACE_SLOTS_MAX)
    t->slot[t->slots & (PS_TRACE_SLOTS_MAX - 1)] = slot;
  t->slots++;
  t->decided = slot;
  if (core_const.trace >= PS_TRACE_EVENTS)
    trace_put_event(t, PS_TRACE_EXIT, slot, 0, 0);
  return 0;
}

static __always_inline void trace_slot(__u32 slot)
{
  if (core_const.trace >= PS_TRACE_EXITS)
    trace_write_slot(slot);
}

static __always_inline const struct ps_replay *trace_world(void)
{
  if (core_const.trace < PS_TRACE_EVENTS)
    return 0;
  __u32 zero = 0;
  return bpf_map_lookup_elem(&replay, &zero);
}

// Explain asks for matches behind the first: is policy number `policy` of the hook left out, and which entry begins it?
static __always_inline int trace_leaves_out(__u32 policy)
{
  const struct ps_replay *world = trace_world();
  return world && policy < world->from_policy;
}
static __always_inline __u32 trace_from_entry(__u32 policy)
{
  const struct ps_replay *world = trace_world();
  return world && policy == world->from_policy ? world->from_entry : 0;
}

// Counts one frame of `length` bytes in `slot` of this CPU's lane.  No atomics: the lane has no other writer.
static __always_inline void count(__u32 slot, __u32 length)
{
  if (writes()) {
    __u32 at = bpf_get_smp_processor_id() * core_const.counter_stride + slot;
    struct ps_counter *counter = bpf_map_lookup_elem(&counters, &at);
    if (counter) {
      counter->packets++;
      counter->bytes += length;
    }
  }
  trace_slot(slot);
}
