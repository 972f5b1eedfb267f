// The stage of a backend that strips what a balancer put around a packet: IPv4 and IPv6 in both (RFC 2003, 2473, 4213) and
// GUE over UDP (draft-ietf-intarea-gue, variant 1 and variant 0 without optional fields).  In place: the Ethernet header
// and tags move up to the inner header, the frame begins there.  Whatever this cannot take goes to the host untouched.
#pragma once
#include "bpf/parse.bpf.h"
#include "features/receive/tables.h"

const volatile struct ps_receive_const receive_const;

// From the stage of sets: is the packet's address of that side in the set?
int set_contains(__u32 set, __u32 side);

enum receive_ecn { RECEIVE_NOT_ECT = 0, RECEIVE_ECT_1 = 1, RECEIVE_ECT_0 = 2, RECEIVE_CE = 3 };

// The inner datagram.
struct receive_inner {
  __u32 at;         // its offset in the frame, bytes
  __u32 end;        // just behind what may belong to it
  __u32 ipv6;
  __u32 ecn;        // enum receive_ecn
  __u32 protocol;   // what its own header says
};

static __always_inline int receive_from(void)
{
  if (!receive_const.sets)
    return 1;
  for (__u32 i = 0; i < PS_RECEIVE_SETS && i < receive_const.sets; i++)
    if (set_contains(receive_const.set[i], PS_SOURCE))
      return 1;
  return 0;
}

// Fills in where the inner datagram is and of which family.  PS_RECEIVE_DONE: found.
static __always_inline enum ps_receive_end receive_find(struct xdp_md *ctx, const struct ps_datagram *d, struct receive_inner *inner)
{
  inner->at = d->transport;
  inner->end = d->end;
  inner->ipv6 = d->protocol == IPPROTO_IPV6;
  if (d->protocol != IPPROTO_UDP)
    return PS_RECEIVE_DONE;
  const __be16 *udp = packet_header(ctx, inner->at, 12);
  if (!udp)
    return PS_RECEIVE_MALFORMED;
  const __u32 length = bpf_ntohs(udp[2]);
  if (length < 12)
    return PS_RECEIVE_MALFORMED;
  inner->end = inner->at + length;
  const __u8 *gue = (const __u8 *)(udp + 4);
  const __u32 version = gue[0] >> 4;
  if (version == 4 || version == 6) {  // variant 1: IP behind the UDP header
    inner->at += 8;
    inner->ipv6 = version == 6;
    return PS_RECEIVE_DONE;
  }
  // Variant 0: no control message, no optional fields, and IP within.
  if (gue[0] || udp[5] || (gue[1] != IPPROTO_IPIP && gue[1] != IPPROTO_IPV6))
    return PS_RECEIVE_UNSUPPORTED;
  inner->at += 12;
  inner->ipv6 = gue[1] == IPPROTO_IPV6;
  return PS_RECEIVE_DONE;
}

// Is the inner header one, and does all that it tells of lie within?  Fills in what else is known of it.
static __always_inline int receive_sound(struct xdp_md *ctx, struct receive_inner *inner)
{
  if (inner->ipv6) {
    const struct packet_ipv6 *ip = packet_header(ctx, inner->at, sizeof *ip);
    if (!ip || *(const __u8 *)ip >> 4 != 6 || inner->at + sizeof *ip + bpf_ntohs(ip->payload_length) > inner->end)
      return 0;
    inner->ecn = bpf_ntohl(ip->version_class_flow) >> 20 & 3;
    inner->protocol = ip->next_header;
    return 1;
  }
  const struct iphdr *ip = packet_header(ctx, inner->at, sizeof *ip);
  if (!ip)
    return 0;
  const __u32 first = *(const __u8 *)ip, header = (first & 15) << 2, total = bpf_ntohs(ip->tot_len);
  if (first >> 4 != 4 || header < sizeof *ip || total < header || inner->at + total > inner->end)
    return 0;
  inner->ecn = ip->tos & 3;
  inner->protocol = ip->protocol;
  return 1;
}

// The outer header's ECN, or -1 where its checksum is wrong: whoever consumes an IPv4 header verifies it (RFC 1122 3.2.1.2).
static __always_inline int receive_outer(struct xdp_md *ctx, const struct ps_datagram *d)
{
  const __u32 *word = packet_header(ctx, d->network, 20);
  if (!word)
    return -1;
  const __u32 first = bpf_ntohl(word[0]);
  if (d->flags & PS_IPV6)
    return first >> 20 & 3;
  __u64 sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
  for (__u32 i = 5; i < 15; i++) {  // options
    if (i >= (first >> 24 & 15))
      break;
    const __u32 *option = packet_header(ctx, d->network + 4 * i, 4);
    if (!option)
      return -1;
    sum += *option;
  }
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return sum == 0xffff ? (int)(first >> 16 & 3) : -1;
}

// RFC 6040 4.2: what the inner header says when the outer is gone; -1: the packet must be dropped.
static __always_inline int receive_combine(__u32 outer, __u32 inner)
{
  if (outer == RECEIVE_CE)
    return inner == RECEIVE_NOT_ECT ? -1 : RECEIVE_CE;
  return outer == RECEIVE_ECT_1 && inner == RECEIVE_ECT_0 ? RECEIVE_ECT_1 : (int)inner;
}

// Writes the inner header's ECN, and mends its checksum (RFC 1624, equation 3).
static __always_inline int receive_mark(struct xdp_md *ctx, __be16 *ip, const struct receive_inner *inner, __u32 ecn)
{
  if ((void *)(ip + 6) > (void *)(long)ctx->data_end)
    return -1;
  const __u32 old = ip[0], shift = inner->ipv6 ? 4 : 0;
  const __u32 now = bpf_htons((bpf_ntohs(ip[0]) & ~(3u << shift)) | ecn << shift);
  ip[0] = now;
  if (inner->ipv6)
    return 0;
  __u32 sum = (__u16)~ip[5] + (__u16)~old + now;
  sum = (sum >> 16) + (sum & 0xffff);
  ip[5] = ~((sum >> 16) + sum);
  return 0;
}

// Lets the frame begin at the inner datagram.  Nothing has changed where it returns other than 0.
static __always_inline int receive_cut(struct xdp_md *ctx, const struct ps_packet *p, const struct receive_inner *inner, __u32 ecn)
{
  const __be16 type = inner->ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
  __u32 *link = (void *)(long)ctx->data, kept[5] = {};
  void *end = (void *)(long)ctx->data_end;
  __u32 *header = (void *)(long)ctx->data + (inner->at & 0x7fff);
  if ((void *)(header + 5) > end || (void *)(link + 5) > end)
    return -1;
  if (core_const.no_ethernet) {
    // Generic XDP takes 14 bytes before the packet for an Ethernet header, whatever the device, when the packet's first
    // bytes changed: it finds one there.
    __be16 *before = (void *)(long)ctx->data + ((inner->at - ETH_HLEN) & 0x7fff);
    if ((void *)(before + 7) > end)
      return -1;
    for (int i = 0; i < 6; i++)
      before[i] = 0;
    before[6] = type;
  } else {
    for (int i = 0; i < 5; i++)
      kept[i] = link[i];
  }
  if (bpf_xdp_adjust_head(ctx, inner->at - p->outer.network))
    return -1;
  link = (void *)(long)ctx->data;
  end = (void *)(long)ctx->data_end;
  __be16 *ip = (__be16 *)link;
  if (!core_const.no_ethernet) {
    if ((void *)link + 22 > end)
      return -1;
    link[0] = kept[0];
    link[1] = kept[1];
    link[2] = kept[2];
    ip = (__be16 *)(link + 3);
    if (p->vlans) {
      link[3] = kept[3];
      ip += 2;
    }
    if (p->vlans > 1) {
      link[4] = kept[4];
      ip += 2;
    }
    *ip++ = type;
  }
  return ecn == inner->ecn ? 0 : receive_mark(ctx, ip, inner, ecn);
}

// Strips the packet where it can.
static __always_inline enum ps_receive_end receive_end(struct xdp_md *ctx, const struct ps_packet *p)
{
  const struct ps_datagram *d = &p->outer;
  struct receive_inner inner = {};
  if (!receive_from())
    return PS_RECEIVE_FOREIGN;
  if (d->flags & (PS_FIRST_FRAGMENT | PS_LATER_FRAGMENT))
    return PS_RECEIVE_FRAGMENT;
  const enum ps_receive_end found = receive_find(ctx, d, &inner);
  if (found)
    return found;
  const int outer_ecn = receive_outer(ctx, d);
  if (!receive_sound(ctx, &inner) || outer_ecn < 0)
    return PS_RECEIVE_MALFORMED;
  trace_event(PS_TRACE_RECEIVE, inner.at - d->network, inner.ipv6 ? 6 : 4, inner.protocol);
  const int ecn = receive_combine(outer_ecn, inner.ecn);
  if (ecn < 0)
    return PS_RECEIVE_ECN;
  if (receive_cut(ctx, p, &inner, ecn))
    return PS_RECEIVE_UNSUPPORTED;
  return inner.protocol == IPPROTO_IPIP || inner.protocol == IPPROTO_IPV6 ? PS_RECEIVE_NESTED : PS_RECEIVE_DONE;
}

__noinline int receive_strip(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  if (!p || !receive_const.kinds)
    return PS_PASS;
  const enum ps_receive_end end = receive_end(ctx, p);
  count(receive_const.slot[end < PS_RECEIVE_ENDS ? end : 0], p->length);
  return end == PS_RECEIVE_ECN ? PS_DROP : end == PS_RECEIVE_MALFORMED ? hook_const.malformed : PS_PASS;
}

// For a packet that all stages before let pass: PS_PASS or PS_DROP, counted where it is encapsulated.
static __always_inline int receive_stage(struct xdp_md *ctx, const struct ps_packet *p)
{
  const struct ps_datagram *d = &p->outer;
  const int ipip = receive_const.kinds & PS_RECEIVE_IPIP && (d->protocol == IPPROTO_IPIP || d->protocol == IPPROTO_IPV6);
  const int gue = receive_const.kinds & PS_RECEIVE_GUE && d->protocol == IPPROTO_UDP && d->flags & PS_PORTS &&
                  d->port[PS_DESTINATION] == receive_const.gue_port;
  return ipip || gue ? receive_strip(ctx) : PS_PASS;
}
