// What rules ask for more rarely, tested when all that is cheap holds: one function for all, and of it only what some rule
// of the hook asks for.
#pragma once
#include "bpf/parse.bpf.h"
#include "features/policy/tables.h"

const volatile struct ps_policy_const policy_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_rule_extra);
} policy_extras SEC(".maps");

static __always_inline __u32 policy_fragment_state(const struct ps_datagram *d)
{
  return d->flags & PS_LATER_FRAGMENT ? PS_FRAGMENT_LATER
                                      : d->flags & PS_FIRST_FRAGMENT ? PS_FRAGMENT_FIRST : PS_FRAGMENT_NONE;
}

// Is `mac` the source's?  No Ethernet header has none.
static __always_inline int policy_source_mac(struct xdp_md *ctx, const __u8 *mac)
{
  if (core_const.no_ethernet)
    return 0;
  const __u8 *h = packet_header(ctx, ETH_ALEN, ETH_ALEN);
  if (!h)
    return 0;
  __u32 differs = 0;
  for (int i = 0; i < ETH_ALEN; i++)
    differs |= h[i] ^ mac[i];
  return !differs;
}

#define POLICY_ASKS(kind) (policy_const.extras & (kind) && e->kinds & (kind))

// Does the packet satisfy entry `index` of `policy_extras`?
__noinline int policy_extra(struct xdp_md *ctx, __u32 index)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_rule_extra *e = bpf_map_lookup_elem(&policy_extras, &index);
  if (!p || !e)
    return 0;
  const struct ps_datagram *d = &p->outer;
  if (POLICY_ASKS(PS_EXTRA_FLAGS) &&
      ((d->tcp_flags & e->tcp_mask) != e->tcp_value || (e->tcp_one_of && !(d->tcp_flags & e->tcp_one_of))))
    return 0;
  if (POLICY_ASKS(PS_EXTRA_ICMP) && (d->icmp_type != e->icmp_type || d->icmp_code < e->icmp_code_first || d->icmp_code > e->icmp_code_last))
    return 0;
  if (POLICY_ASKS(PS_EXTRA_VLAN)) {
    const __u32 vlan = p->vlans ? p->vlan[0] & 0xfff : PS_NO_VLAN;
    if (vlan < e->vlan_first || vlan > e->vlan_last)
      return 0;
  }
  if (POLICY_ASKS(PS_EXTRA_DSCP) && !(e->dscp >> (d->dscp & 63) & 1))
    return 0;
  if (POLICY_ASKS(PS_EXTRA_HOP_LIMIT) && (d->hop_limit < e->hop_limit_first || d->hop_limit > e->hop_limit_last))
    return 0;
  if (POLICY_ASKS(PS_EXTRA_LENGTH)) {
    const __u32 length = d->end - d->network;
    if (length < e->length_first || length > e->length_last)
      return 0;
  }
  if (POLICY_ASKS(PS_EXTRA_FRAGMENT) && !(policy_fragment_state(d) & e->fragment))
    return 0;
  if (POLICY_ASKS(PS_EXTRA_OPTIONS) && !!(d->flags & PS_OPTIONS) != e->options)
    return 0;
  if (POLICY_ASKS(PS_EXTRA_INTERFACE) && hook_const.interface != e->interface)
    return 0;
  return !POLICY_ASKS(PS_EXTRA_MAC) || policy_source_mac(ctx, e->mac);
}
