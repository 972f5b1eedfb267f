// Later fragments carry no ports: they take the verdict of their first.  Only first fragments write, so packets that are
// none pay nothing; whoever floods first fragments only makes others' later ones be judged by address and protocol.
#pragma once
#include "bpf/state.bpf.h"
#include "features/policy/extra.bpf.h"

// The loader leaves it out where no rule asks for what later fragments lack.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, PS_FRAGMENTS);
  __type(key, struct ps_fragment_key);
  __type(value, struct ps_fragment);
} policy_fragments SEC(".maps");

static __always_inline void policy_fragment_key(const struct ps_packet *p, __u32 policy, struct ps_fragment_key *key)
{
  const struct ps_datagram *d = &p->outer;
  key->address[PS_SOURCE] = d->address[PS_SOURCE];
  key->address[PS_DESTINATION] = d->address[PS_DESTINATION];
  key->id = d->fragment;
  key->policy = policy;
  key->tags = (p->vlans > 0 ? p->vlan[0] & 0xfff : 0) << 12 | (p->vlans > 1 ? p->vlan[1] & 0xfff : 0);
  key->protocol = d->protocol;
}

// Of a later fragment: outcome << 32 | slot of its first, PS_CONTINUE << 32 if that was not seen lately.
__noinline __u64 policy_fragment_first(__u32 policy)
{
  const struct ps_packet *p = packet_scratch();
  struct ps_fragment_key key;
  if (policy_const.fragments && p) {
    policy_fragment_key(p, policy, &key);
    const struct ps_fragment *first = bpf_map_lookup_elem(&policy_fragments, &key);
    if (first && clock_now() < first->until)
      return (__u64)first->outcome << 32 | first->slot;
  }
  return (__u64)PS_CONTINUE << 32;
}

// Of a first fragment: remembers what became of it.
__noinline int policy_fragment_remember(__u32 policy, __u32 slot, __u32 outcome)
{
  const struct ps_packet *p = packet_scratch();
  struct ps_fragment_key key;
  if (!policy_const.fragments || !p || !writes())
    return 0;
  const struct ps_fragment first = {.until = clock_now() + PS_FRAGMENT_LIFE, .slot = slot, .outcome = outcome};
  policy_fragment_key(p, policy, &key);
  return bpf_map_update_elem(&policy_fragments, &key, &first, BPF_ANY);
}
