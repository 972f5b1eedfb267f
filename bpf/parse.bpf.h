// Parse once: frame -> struct ps_packet.
//
// Lengths are believed only as far as the frame bears them out: IP's own length must fit the frame, every header must
// fit IP's length.  What contradicts is malformed (RFC 791, 8200, 7112, 9293, 768).  A jumbogram cannot fit a frame
// of 9,000 bytes, so payload length 0 means an empty payload.
#pragma once
#include "bpf/loop.bpf.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>

#include "bpf/state.bpf.h"

#define PACKET_EXTENSIONS 8  // IPv6 extension headers in one packet; more are malformed
#define PACKET_HEADER_MAX 40

// Can a frame continue beyond its linear part?  (Kernels of the level `basic` do not know such frames.)
#ifdef PS_LEVEL_basic
#define PACKET_FRAGS 0
#else
#define PACKET_FRAGS (!core_const.linear)
#endif

// An IPv6 header by its natural alignment, which the kernel's struct hides.
struct packet_ipv6 {
  __u32 version_class_flow;
  __be16 payload_length;
  __u8 next_header;
  __u8 hop_limit;
  __be64 source[2];
  __be64 destination[2];
};

// A header that lies beyond the linear part of a frame.  Not on the stack, of which all functions have 512 bytes together.
struct packet_copy {
  __u64 word[PACKET_HEADER_MAX / 8];
};
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct packet_copy);
} packet_copies SEC(".maps");

// `size` bytes at `offset` (< 32 KiB) of the frame, until the next call: in place, or copied where the linear part ends
// before.  NULL beyond the frame.
static __always_inline void *packet_header(struct xdp_md *ctx, __u32 offset, __u32 size)
{
  void *data_end = (void *)(long)ctx->data_end;
  void *header = (void *)(long)ctx->data + (offset & 0x7fff);
  if (header + size <= data_end)
    return header;
  if (!PACKET_FRAGS)
    return 0;
  __u32 zero = 0;
  void *copy = bpf_map_lookup_elem(&packet_copies, &zero);
  return copy && !bpf_xdp_load_bytes(ctx, offset & 0x7fff, copy, size) ? copy : 0;
}

// The frame's length, bytes.  A function call: for packets that need it.
static __always_inline __u32 packet_length(struct xdp_md *ctx)
{
  return PACKET_FRAGS ? bpf_xdp_get_buff_len(ctx) : ctx->data_end - ctx->data;
}

// Does the frame hold `end` bytes?  Fills in its whole length where the linear part ends before.
static __always_inline int packet_holds(struct xdp_md *ctx, struct ps_packet *p, __u32 end)
{
  if (end <= p->length)
    return 1;
  p->length = packet_length(ctx);
  return end <= p->length;
}

// The transport header at d->transport.
static __always_inline enum ps_reason packet_transport(struct xdp_md *ctx, struct ps_datagram *d)
{
  const __u32 at = d->transport;
  const __u32 room = d->end - at;
  if (d->protocol == IPPROTO_TCP) {
    const __be16 *h = packet_header(ctx, at, 14);
    if (room < 20 || !h)
      return PS_REASON_MALFORMED;
    const __u32 header_length = ((const __u8 *)h)[12] >> 4 << 2;
    if (header_length < 20 || header_length > room)
      return PS_REASON_MALFORMED;
    d->port[PS_SOURCE] = bpf_ntohs(h[0]);
    d->port[PS_DESTINATION] = bpf_ntohs(h[1]);
    d->tcp_flags = ((const __u8 *)h)[13];
    d->flags |= PS_PORTS;
  } else if (d->protocol == IPPROTO_UDP) {
    const __be16 *h = packet_header(ctx, at, 8);
    if (room < 8 || !h)
      return PS_REASON_MALFORMED;
    const __u32 length = bpf_ntohs(h[2]);
    if (length < 8 || (length > room && !(d->flags & PS_FIRST_FRAGMENT)))
      return PS_REASON_MALFORMED;
    d->port[PS_SOURCE] = bpf_ntohs(h[0]);
    d->port[PS_DESTINATION] = bpf_ntohs(h[1]);
    d->flags |= PS_PORTS;
  } else if (d->protocol == (d->flags & PS_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
    const __u8 *h = packet_header(ctx, at, 8);
    if (room < 8 || !h)
      return PS_REASON_MALFORMED;
    d->icmp_type = h[0];
    d->icmp_code = h[1];
    d->flags |= PS_ICMP;
    // RFC 792: destination unreachable, source quench, redirect, time exceeded, parameter problem.
    // RFC 4443: errors have a type below 128.
    if (d->flags & PS_IPV4 ? (h[0] >= 3 && h[0] <= 5) || h[0] == 11 || h[0] == 12 : h[0] >= 1 && h[0] < 128)
      d->flags |= PS_QUOTES;
  }
  return PS_REASON_NONE;
}

// Fragmentation, the same for both families.  `offset` in units of eight bytes; `id` in any order of bytes.
static __always_inline enum ps_reason packet_fragment(struct ps_datagram *d, __u32 offset, __u32 more, __u32 id)
{
  if (!offset && !more)
    return PS_REASON_NONE;
  d->fragment = id;
  if (offset) {
    if (offset == 1)  // nobody makes a first fragment of eight bytes but to hide what a header says (RFC 1858)
      return PS_REASON_MALFORMED;
    d->flags &= ~PS_FIRST_FRAGMENT;  // within another's first one
    d->flags |= PS_LATER_FRAGMENT;
  } else {
    d->flags |= PS_FIRST_FRAGMENT;
  }
  return PS_REASON_NONE;
}

// A quoted packet may be cut anywhere (RFC 792: behind eight bytes of the transport header) within the packet that
// quotes it; all others lie in the frame whole.
static __always_inline enum ps_reason packet_ipv4(struct xdp_md *ctx, struct ps_packet *p, __u32 at, int quoted)
{
  struct ps_datagram *d = quoted ? &p->quoted : &p->outer;
  const struct iphdr *ip = packet_header(ctx, at, sizeof *ip);
  if (!ip)
    return PS_REASON_MALFORMED;
  const __u32 first = *(const __u8 *)ip;
  const __u32 header_length = (first & 15) << 2;
  const __u32 total = bpf_ntohs(ip->tot_len);
  if (first >> 4 != 4 || header_length < 20 || total < header_length ||
      (quoted ? at + header_length > p->outer.end : !packet_holds(ctx, p, at + total)))
    return PS_REASON_MALFORMED;
  d->address[PS_SOURCE].hi = 0;
  d->address[PS_SOURCE].lo = PS_V4_MARK | bpf_ntohl(ip->saddr);
  d->address[PS_DESTINATION].hi = 0;
  d->address[PS_DESTINATION].lo = PS_V4_MARK | bpf_ntohl(ip->daddr);
  d->network = at;
  d->transport = at + header_length;
  d->end = quoted && at + total > p->outer.end ? p->outer.end : at + total;
  d->protocol = ip->protocol;
  d->hop_limit = ip->ttl;
  d->dscp = ip->tos >> 2;
  d->flags = header_length > 20 ? PS_IPV4 | PS_OPTIONS : PS_IPV4;
  const __u32 fragment = bpf_ntohs(ip->frag_off);
  return packet_fragment(d, fragment & 0x1fff, fragment & 0x2000, ip->id);
}

static __always_inline int packet_v4_mapped(const struct ps_address *a)
{
  return !a->hi && a->lo >> 32 == PS_V4_MARK >> 32;
}

static __always_inline int packet_is_extension(__u8 header)
{
  return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_FRAGMENT ||
         header == IPPROTO_AH || header == IPPROTO_DSTOPTS || header == 135 /* mobility */ ||
         header == 139 /* HIP */ || header == 140 /* shim6 */;
}

// Walks IPv6 extension headers from `transport` on; moves transport and protocol to what follows them.  `quoted`: of
// the packet that an ICMP error quotes.  A function of its own, so that the verifier walks it once.
__noinline int packet_extensions(struct xdp_md *ctx, __u32 quoted)
{
  struct ps_packet *p = packet_scratch();
  if (!p)
    return PS_REASON_MALFORMED;
  struct ps_datagram *d = quoted ? &p->quoted : &p->outer;
  __u32 turn __attribute__((unused)) = 0;
  // Where the walk is lies in memory, of which the verifier knows nothing: so it need not walk each turn.
  p->extensions = 0;
  while (packet_is_extension(d->protocol) && p->extensions++ < PACKET_EXTENSIONS) {
    LOOP_TURN(turn, PACKET_EXTENSIONS, out);
    __u32 at = d->transport;
    const __u8 *h = packet_header(ctx, at, 8);
    if (!h || at + 8 > d->end)
      return PS_REASON_MALFORMED;
    const __u8 header = d->protocol;
    d->protocol = h[0];
    if (header == IPPROTO_FRAGMENT) {
      const __u32 fragment = bpf_ntohs(*(const __be16 *)(h + 2));
      const __u32 id = *(const __u32 *)(h + 4);
      d->transport = at + 8;
      if (packet_fragment(d, fragment >> 3, fragment & 1, id))
        return PS_REASON_MALFORMED;
      if (d->flags & PS_LATER_FRAGMENT)
        return PS_REASON_NONE;
    } else {
      d->flags |= PS_OPTIONS;
      at += header == IPPROTO_AH ? (h[1] + 2) << 2 : (h[1] + 1) << 3;
      if (at > d->end)
        return PS_REASON_MALFORMED;
      d->transport = at;
    }
  }
out:
  return packet_is_extension(d->protocol) ? PS_REASON_MALFORMED : PS_REASON_NONE;
}

static __always_inline enum ps_reason packet_ipv6(struct xdp_md *ctx, struct ps_packet *p, __u32 at, int quoted)
{
  struct ps_datagram *d = quoted ? &p->quoted : &p->outer;
  const struct packet_ipv6 *ip = packet_header(ctx, at, sizeof *ip);
  if (!ip)
    return PS_REASON_MALFORMED;
  __u32 end = at + sizeof *ip + bpf_ntohs(ip->payload_length);
  if (quoted && end > p->outer.end)
    end = p->outer.end;
  if (*(const __u8 *)ip >> 4 != 6 || (quoted ? at + sizeof *ip > end : !packet_holds(ctx, p, end)))
    return PS_REASON_MALFORMED;
  d->address[PS_SOURCE].hi = bpf_be64_to_cpu(ip->source[0]);
  d->address[PS_SOURCE].lo = bpf_be64_to_cpu(ip->source[1]);
  d->address[PS_DESTINATION].hi = bpf_be64_to_cpu(ip->destination[0]);
  d->address[PS_DESTINATION].lo = bpf_be64_to_cpu(ip->destination[1]);
  // A mapped address on the wire would pass for IPv4 in every rule.
  if (packet_v4_mapped(&d->address[PS_SOURCE]) || packet_v4_mapped(&d->address[PS_DESTINATION]))
    return PS_REASON_MALFORMED;
  d->network = at;
  d->transport = at + sizeof *ip;
  d->end = end;
  d->protocol = ip->next_header;
  d->hop_limit = ip->hop_limit;
  d->dscp = bpf_ntohl(ip->version_class_flow) >> 22 & 63;
  d->flags = PS_IPV6;
  return packet_is_extension(d->protocol) ? packet_extensions(ctx, quoted) : PS_REASON_NONE;
}

static __always_inline enum ps_reason packet_datagram(struct xdp_md *ctx, struct ps_packet *p, __be16 type, __u32 at)
{
  struct ps_datagram *d = &p->outer;
  enum ps_reason reason;
  d->port[PS_SOURCE] = 0;
  d->port[PS_DESTINATION] = 0;
  if (type == bpf_htons(ETH_P_IP))
    reason = packet_ipv4(ctx, p, at, 0);
  else if (type == bpf_htons(ETH_P_IPV6))
    reason = packet_ipv6(ctx, p, at, 0);
  else
    return PS_REASON_NOT_IP;
  if (reason || d->flags & PS_LATER_FRAGMENT)
    return reason;
  return packet_transport(ctx, d);
}

// The type that an IP header at `at` claims to be; 0 if it is none.
static __always_inline __be16 packet_ip_version(struct xdp_md *ctx, __u32 at)
{
  const __u8 *first = packet_header(ctx, at, 1);
  if (!first)
    return 0;
  return *first >> 4 == 4 ? bpf_htons(ETH_P_IP) : *first >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : 0;
}

// Fills `p` from the frame.  PS_REASON_NONE: all is known, MALFORMED, NOT_IP: only the VLANs are.  `length` is that of
// the linear part where that holds the datagram: what lies beyond can only be padding, and to ask costs a call.
static __always_inline enum ps_reason packet_parse(struct xdp_md *ctx, struct ps_packet *p)
{
  __u32 at = 0;
  __be16 type;
  p->length = ctx->data_end - ctx->data;
  p->vlans = 0;
  if (core_const.no_ethernet) {
    type = packet_ip_version(ctx, 0);
  } else {
    const __be16 *h = packet_header(ctx, 12, 2);
    if (!h)
      return PS_REASON_MALFORMED;
    type = *h;
    at = ETH_HLEN;
    for (int i = 0; i < 2; i++) {
      if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
        break;
      h = packet_header(ctx, at, 4);
      if (!h)
        return PS_REASON_MALFORMED;
      p->vlan[i] = bpf_ntohs(h[0]);
      p->vlans = i + 1;
      type = h[1];
      at += 4;
    }
  }
  return packet_datagram(ctx, p, type, at);
}
