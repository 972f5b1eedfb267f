// A packet on its way to a backend: the outer header of RFC 2003, RFC 2473 or GUE (variant 1), the link header, and out.
#pragma once
#include "bpf/answer_error.bpf.h"
#include "features/services/hop.bpf.h"

#define FORWARD_TTL 64u
#define FORWARD_PORT_FIRST 0xc000u   // of GUE's outer source port: its low 14 bits tell flows apart

struct outer_header {
  __u32 word[12];
  __u32 size;     // bytes in use: 0, 20, 28, 40, 48
};

// DSCP and ECN as they are (RFC 6040, normal mode).
static __always_inline __u32 forward_class(struct xdp_md *ctx, const struct ps_datagram *d)
{
  const __u8 *h = packet_header(ctx, d->network, 2);
  if (!h)
    return 0;
  return d->flags & PS_IPV4 ? h[1] : (h[0] << 4 | h[1] >> 4) & 0xff;
}

// The same for all whole packets of a connection, and for all fragments between its two addresses.
static __always_inline __u32 forward_entropy(const struct ps_datagram *d)
{
  const __u64 addresses = service_mix(d->address[PS_SOURCE].lo ^ d->address[PS_SOURCE].hi ^ d->address[PS_DESTINATION].lo << 1);
  const __u32 fragment = d->flags & (PS_FIRST_FRAGMENT | PS_LATER_FRAGMENT);
  return service_mix(addresses + (fragment ? 0 : (__u32)d->port[PS_SOURCE] << 16 | d->port[PS_DESTINATION])) >> 32;
}

static __always_inline void forward_outer(struct xdp_md *ctx, const struct ps_datagram *d, const struct ps_backend *b, struct outer_header *o)
{
  const __u32 class = forward_class(ctx, d);
  const __u32 gue = service_const.encaps & 1 << PS_ENCAP_GUE && b->encap == PS_ENCAP_GUE ? 8 : 0;
  const __u32 inner = d->end - d->network, ipv4 = b->address.lo >> 32 == PS_V4_MARK >> 32 && !b->address.hi;
  const __u32 protocol = gue ? IPPROTO_UDP : d->flags & PS_IPV4 ? IPPROTO_IPIP : IPPROTO_IPV6;
  // Plain IPv4 in IPv4 has no place for it.
  const __u32 entropy = gue || !ipv4 || b->flags & PS_BACKEND_SPREAD ? forward_entropy(d) : 0;
  __u64 low = b->source.lo;
  if (b->flags & PS_BACKEND_SPREAD)
    low |= (entropy ^ (__u64)entropy << 32) & ((b->source_bits < 64 ? 1ull << b->source_bits : 0) - 1);
  __u32 *udp;
  if (ipv4) {
    o->size = 20 + gue;
    o->word[0] = bpf_htonl(0x45000000u | class << 16 | (inner + 20 + gue));
    o->word[1] = bpf_htonl(0x4000);  // don't fragment
    o->word[2] = bpf_htonl(FORWARD_TTL << 24 | protocol << 16);
    o->word[3] = bpf_htonl((__u32)low);
    o->word[4] = bpf_htonl((__u32)b->address.lo);
    __u64 sum = 0;
    for (int i = 0; i < 5; i++)
      sum += o->word[i];
    o->word[2] |= (__u32)bpf_htonl(bpf_ntohs(answer_checksum(sum)));
    udp = &o->word[5];
  } else {
    o->size = 40 + gue;
    o->word[0] = bpf_htonl(6u << 28 | class << 20 | (entropy & 0xfffff));
    o->word[1] = bpf_htonl((inner + gue) << 16 | protocol << 8 | FORWARD_TTL);
    o->word[2] = bpf_htonl(b->source.hi >> 32);
    o->word[3] = bpf_htonl((__u32)b->source.hi);
    o->word[4] = bpf_htonl(low >> 32);
    o->word[5] = bpf_htonl((__u32)low);
    o->word[6] = bpf_htonl(b->address.hi >> 32);
    o->word[7] = bpf_htonl((__u32)b->address.hi);
    o->word[8] = bpf_htonl(b->address.lo >> 32);
    o->word[9] = bpf_htonl((__u32)b->address.lo);
    udp = &o->word[10];
  }
  if (!gue)
    return;
  // No checksum: legal over IPv4, and over IPv6 for tunnels (RFC 6935).
  udp[0] = bpf_htonl((FORWARD_PORT_FIRST | (entropy & 0x3fff)) << 16 | b->gue_port);
  udp[1] = bpf_htonl((inner + 8) << 16);
}

// The link header in front of the packet, `size` bytes of it: 14, or 18 with a tag, or as many as the packet came with.
struct forward_link {
  __u16 word[11];
  __u32 size;
};

// `type` of what follows the link header, as on the wire.
static __always_inline int forward_link(struct xdp_md *ctx, const struct ps_packet *p, const struct ps_hop *hop, __be16 type, struct forward_link *link)
{
  __builtin_memset(link, 0, sizeof *link);
  if (hop->how == PS_HOP_STACK || hop->tagged == 2) {  // the host's own, or in replay: as it came
    link->size = p->outer.network;
    if (core_const.no_ethernet)
      return 0;
    const __u16 *h = packet_header(ctx, 0, ETH_HLEN);
    if (!h)
      return -1;
    __builtin_memcpy(link->word, h, ETH_HLEN);
    for (__u32 i = 0; i < 2 && i < p->vlans; i++) {
      const __u16 *tag = packet_header(ctx, ETH_HLEN + 4 * i, 4);
      if (!tag)
        return -1;
      link->word[7 + 2 * i] = tag[0];
      link->word[8 + 2 * i] = tag[1];
    }
    link->word[6 + 2 * (p->vlans < 2 ? p->vlans : 2)] = type;
  } else {
    link->size = hop->tagged ? ETH_HLEN + 4 : ETH_HLEN;
    link->word[6] = hop->tagged ? bpf_htons(ETH_P_8021Q) : type;
    link->word[7] = bpf_htons(hop->tag);
    link->word[8] = type;
  }
  if (hop->how != PS_HOP_STACK)
    __builtin_memcpy(link->word, hop->mac, 2 * ETH_ALEN);
  return 0;
}

// Writes `size` bytes at `offset`, in front of what the frame held.
#define FORWARD_WRITE(ctx, offset, from, size)                            \
  ({                                                                      \
    void *to_ = (void *)(long)(ctx)->data + ((offset)&63);                \
    const int fits_ = to_ + (size) <= (void *)(long)(ctx)->data_end;      \
    if (fits_)                                                            \
      __builtin_memcpy(to_, from, size);                                  \
    fits_;                                                                \
  })

static __always_inline int forward_write_link(struct xdp_md *ctx, struct forward_link *link)
{
  if (!link->size)
    return 1;
  if (!FORWARD_WRITE(ctx, 0, link->word, ETH_HLEN))
    return 0;
  if (link->size == ETH_HLEN)
    return 1;
  if (!FORWARD_WRITE(ctx, ETH_HLEN, &link->word[7], 4))
    return 0;
  return link->size == ETH_HLEN + 4 || FORWARD_WRITE(ctx, ETH_HLEN + 4, &link->word[9], 4);
}

static __always_inline int forward_write_outer(struct xdp_md *ctx, __u32 offset, struct outer_header *o)
{
  switch (o->size) {
  case 20:
    return FORWARD_WRITE(ctx, offset, o->word, 20);
  case 28:
    return FORWARD_WRITE(ctx, offset, o->word, 28);
  case 40:
    return FORWARD_WRITE(ctx, offset, o->word, 40);
  default:
    return FORWARD_WRITE(ctx, offset, o->word, 48);
  }
}

// Lets the frame be the datagram with `size` bytes in front of it, link header included.  Returns 0 when done.
static __always_inline int forward_make_room(struct xdp_md *ctx, const struct ps_packet *p, __u32 size)
{
  const struct ps_datagram *d = &p->outer;
  // What lies behind the datagram is padding of the frame that it came in.
  if (p->length > d->end && bpf_xdp_adjust_tail(ctx, (int)d->end - (int)(PACKET_FRAGS ? packet_length(ctx) : p->length)))
    return -1;
  const int front = (int)size - (int)d->network;
  return front && bpf_xdp_adjust_head(ctx, -front) ? -1 : 0;
}

// Puts the packet into the frame that goes to the backend.  Returns 0 when done.
static __always_inline int forward_wrap(struct xdp_md *ctx, const struct ps_packet *p, const struct ps_backend *b, const struct ps_hop *hop)
{
  const struct ps_datagram *d = &p->outer;
  const int wraps = service_const.encaps & ~(1 << PS_ENCAP_NONE) && b->encap != PS_ENCAP_NONE;
  const int ipv4 = wraps ? b->address.lo >> 32 == PS_V4_MARK >> 32 && !b->address.hi : !!(d->flags & PS_IPV4);
  struct forward_link link;
  struct outer_header o;
  o.size = 0;
  if (wraps)
    forward_outer(ctx, d, b, &o);
  if (forward_link(ctx, p, hop, ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), &link))
    return -1;
  if (forward_make_room(ctx, p, link.size + o.size))
    return -1;
  return !forward_write_link(ctx, &link) || (wraps && !forward_write_outer(ctx, link.size, &o));
}

// The largest packet that gets through to the backend, bytes; 0: not known.
static __always_inline __u32 forward_room(const struct ps_backend *b, const struct ps_hop *hop)
{
  __u32 mtu = hop->how == PS_HOP_REDIRECT ? hop->mtu : 0;
  if (b->mtu && (!mtu || b->mtu < mtu))
    mtu = b->mtu;
  const __u32 ipv4 = b->address.lo >> 32 == PS_V4_MARK >> 32 && !b->address.hi;
  const __u32 front = b->encap == PS_ENCAP_NONE ? 0 : (ipv4 ? 20 : 40) + (b->encap == PS_ENCAP_GUE ? 8 : 0);
  return mtu > front ? mtu - front : 0;
}

// "Fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443 3.2), with the size that would have got through.
static __always_inline int forward_too_big(struct xdp_md *ctx, const struct ps_packet *p, const struct ps_service *s, __u32 room)
{
  const __u32 length = p->length, ipv4 = p->outer.flags & PS_IPV4;
  if (answer_never(ctx, &p->outer) || !answer_may() || answer_error(ctx, ipv4 ? 3 << 8 | 4 : 2 << 8, room)) {
    count(s->slot[PS_EXIT_TOO_BIG_SILENT], length);
    return PS_DROP;
  }
  count(s->slot[PS_EXIT_TOO_BIG], length);
  return PS_TX;
}

// Sends the packet to `backend` of `service`.  Returns its verdict, counted.
__noinline int service_forward(struct xdp_md *ctx, __u32 service, __u32 backend)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
  const struct ps_hop *hop = bpf_map_lookup_elem(&service_hops, &backend);
  if (!service_const.on || !p || !s || !b || !hop)
    return PS_DROP;
  const __u32 length = p->length;
  if (b->flags & PS_BACKEND_LOCAL) {
    count(b->slot[PS_EXIT_STACK], length);
    return PS_PASS;
  }
  if (core_const.replay || hop->until <= clock_now())
    service_hop_renew(ctx, backend);
  const __u32 room = forward_room(b, hop);
  if (room && p->outer.end - p->outer.network > room)
    return forward_too_big(ctx, p, s, room);
  // With no header of its own the packet names no backend: the host could not send it on.
  if (hop->how == PS_HOP_NO_ROUTE || hop->how == PS_HOP_NONE || (hop->how == PS_HOP_STACK && b->encap == PS_ENCAP_NONE)) {
    count(b->slot[PS_EXIT_NO_ROUTE], length);
    return PS_DROP;
  }
  if (forward_wrap(ctx, p, b, hop)) {
    count(b->slot[PS_EXIT_ABORTED], length);
    return PS_DROP;
  }
  if (hop->how == PS_HOP_STACK) {
    count(b->slot[PS_EXIT_STACK], length);
    return PS_PASS;
  }
  if (hop->how == PS_HOP_REDIRECT && hop->ifindex == ctx->ingress_ifindex) {
    count(b->slot[PS_EXIT_RETURNED], length);
    return PS_TX;
  }
  count(b->slot[PS_EXIT_FORWARDED], length);
  return hop->how == PS_HOP_REPLAY ? PS_REDIRECT : bpf_redirect(hop->ifindex, 0);
}
