// `count: per source` and `per destination`: counters by address, of the rules that ask for them.
#pragma once
#include "bpf/state.bpf.h"
#include "features/policy/extra.bpf.h"

// The loader leaves it out where no rule counts by address.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, PS_TALKERS);
  __type(key, struct ps_talker_key);
  __type(value, struct ps_counter);
} policy_talkers SEC(".maps");

// Counts the packet in the counter of its address.  Several CPUs may share it: atomic.
__noinline int policy_talk(__u32 slot, __u32 then)
{
  const struct ps_packet *p = packet_scratch();
  if (!(policy_const.then & PS_THEN_COUNTS) || !p || !writes())
    return 0;
  struct ps_talker_key key = {};
  key.address = p->outer.address[then & PS_THEN_COUNT_SOURCE ? PS_SOURCE : PS_DESTINATION];
  key.slot = slot;
  const struct ps_counter fresh = {.packets = 1, .bytes = p->length};
  struct ps_counter *counter = bpf_map_lookup_elem(&policy_talkers, &key);
  if (!counter) {
    if (!bpf_map_update_elem(&policy_talkers, &key, &fresh, BPF_NOEXIST))
      return 0;
    counter = bpf_map_lookup_elem(&policy_talkers, &key);  // another CPU was faster
  }
  if (counter) {
    __sync_fetch_and_add(&counter->packets, 1);
    __sync_fetch_and_add(&counter->bytes, p->length);
  }
  return 0;
}
