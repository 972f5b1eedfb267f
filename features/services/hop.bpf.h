// The way to a backend: the kernel's routes and neighbours, asked every quarter of a second and CPU, not for each packet.
#pragma once
#include <linux/if_ether.h>

#include "features/services/flows.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_hop);
} service_hops SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, PS_EGRESS_DEVICES);
  __type(key, __u32);
  __type(value, struct ps_egress);
} service_egress SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, PS_REPLAY_NEIGHBORS);
  __type(key, struct ps_address);
  __type(value, struct ps_neighbor);
} replay_neighbors SEC(".maps");

#define FAMILY_IPV4 2
#define FAMILY_IPV6 10
#define LOOPBACK 1  // the interface of what the host itself sends: its routes are the ones asked

static __always_inline void hop_replay(struct xdp_md *ctx, const struct ps_address *to, struct ps_hop *hop)
{
  const struct ps_neighbor *neighbor = bpf_map_lookup_elem(&replay_neighbors, to);
  const __u8 unknown[6] = PS_REPLAY_MAC;
  __builtin_memcpy(hop->mac, neighbor ? neighbor->mac : unknown, 6);
  const __u8 *frame = core_const.no_ethernet ? 0 : packet_header(ctx, 0, ETH_HLEN);
  if (frame)
    __builtin_memcpy(hop->mac + 6, frame, 6);  // this node's, as the packet named it
  hop->how = PS_HOP_REPLAY;
  hop->tagged = 2;
}

// The device that frames leave by where it is not the one of the route: a VLAN's parent, with a tag, or the stack.
static __always_inline void hop_egress(struct ps_hop *hop)
{
  const struct ps_egress *e = bpf_map_lookup_elem(&service_egress, &hop->ifindex);
  hop->tagged = 0;
  if (!e)
    return;
  hop->ifindex = e->ifindex;
  hop->tag = e->tag;
  hop->tagged = e->tagged;
  if (!e->ifindex)
    hop->how = PS_HOP_STACK;
}

static __always_inline void hop_ask(struct xdp_md *ctx, const struct ps_address *to, struct ps_hop *hop, __u64 now)
{
  struct bpf_fib_lookup fib = {};
  fib.ifindex = LOOPBACK;
  if (to->lo >> 32 == PS_V4_MARK >> 32 && !to->hi) {
    fib.family = FAMILY_IPV4;
    fib.ipv4_dst = bpf_htonl((__u32)to->lo);
  } else {
    fib.family = FAMILY_IPV6;
    fib.ipv6_dst[0] = bpf_htonl(to->hi >> 32);
    fib.ipv6_dst[1] = bpf_htonl((__u32)to->hi);
    fib.ipv6_dst[2] = bpf_htonl(to->lo >> 32);
    fib.ipv6_dst[3] = bpf_htonl((__u32)to->lo);
  }
  const long found = bpf_fib_lookup(ctx, &fib, sizeof fib, 0);
  hop->until = now + PS_HOP_LIFE;
  switch (found) {
  case BPF_FIB_LKUP_RET_SUCCESS:
    hop->how = PS_HOP_REDIRECT;
    hop->seen = now;
    hop->ifindex = fib.ifindex;
    hop->mtu = fib.mtu_result;
    __builtin_memcpy(hop->mac, fib.dmac, 6);
    __builtin_memcpy(hop->mac + 6, fib.smac, 6);
    hop_egress(hop);
    break;
  case BPF_FIB_LKUP_RET_NO_NEIGH:
    // Whom the kernel is asking for right now most likely is where it was; else the host itself asks, and sends.
    hop->until = now + PS_HOP_LIFE_UNKNOWN;
    if (hop->how != PS_HOP_REDIRECT || now - hop->seen > PS_HOP_TRUST)
      hop->how = PS_HOP_STACK;
    break;
  case BPF_FIB_LKUP_RET_BLACKHOLE:
  case BPF_FIB_LKUP_RET_UNREACHABLE:
  case BPF_FIB_LKUP_RET_PROHIBIT:
    hop->how = PS_HOP_NO_ROUTE;
    break;
  default:  // the host's own address, forwarding off, a device of another kind
    hop->how = PS_HOP_STACK;
  }
}

// Makes sure that `service_hops` knows the way to `backend`.
__noinline int service_hop_renew(struct xdp_md *ctx, __u32 backend)
{
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
  struct ps_hop *hop = bpf_map_lookup_elem(&service_hops, &backend);
  if (!service_const.on || !b || !hop)
    return 0;
  if (core_const.replay)
    hop_replay(ctx, &b->address, hop);
  else
    hop_ask(ctx, &b->address, hop, clock_now());
  trace_event(PS_TRACE_SERVICE_HOP, backend, hop->how, hop->ifindex);
  return 0;
}
