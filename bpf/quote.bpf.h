// The packet that an ICMP or ICMPv6 error quotes: frame -> ps_packet.quoted.  Only where a stage needs to know which
// flow an error is about (core_const.quotes).
#pragma once
#include "bpf/parse.bpf.h"

// How far into the frame a quote may begin, bytes: its headers then lie within reach of packet_header().
#define PACKET_QUOTE_FURTHEST 0x3000

// The first eight bytes of the transport header are all that a quote need hold (RFC 792).
static __always_inline enum ps_reason packet_quoted_transport(struct xdp_md *ctx, struct ps_datagram *d)
{
  const int ports = d->protocol == IPPROTO_TCP || d->protocol == IPPROTO_UDP;
  if (d->flags & PS_LATER_FRAGMENT)
    return PS_REASON_NONE;
  if (!ports && d->protocol != (d->flags & PS_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
    return PS_REASON_NONE;
  const __be16 *h = packet_header(ctx, d->transport, 8);
  if (d->end - d->transport < 8 || !h)
    return PS_REASON_MALFORMED;
  if (ports) {
    d->port[PS_SOURCE] = bpf_ntohs(h[0]);
    d->port[PS_DESTINATION] = bpf_ntohs(h[1]);
    d->flags |= PS_PORTS;
  } else {
    d->icmp_type = ((const __u8 *)h)[0];
    d->icmp_code = ((const __u8 *)h)[1];
    d->flags |= PS_ICMP;
  }
  return PS_REASON_NONE;
}

// Reads what the error in p->outer (flag PS_QUOTES) quotes.  Whatever is wrong with the quote, the error itself is sound:
// quoted.flags is 0 then.
__noinline int packet_quoted(struct xdp_md *ctx)
{
  struct ps_packet *p = packet_scratch();
  if (!p)
    return PS_REASON_MALFORMED;
  struct ps_datagram *d = &p->quoted;
  const __u32 at = p->outer.transport + 8;
  enum ps_reason reason = PS_REASON_MALFORMED;
  d->port[PS_SOURCE] = 0;
  d->port[PS_DESTINATION] = 0;
  d->tcp_flags = 0;
  if (at <= PACKET_QUOTE_FURTHEST)
    reason = p->outer.flags & PS_IPV4 ? packet_ipv4(ctx, p, at, 1) : packet_ipv6(ctx, p, at, 1);
  if (!reason)
    reason = packet_quoted_transport(ctx, d);
  if (reason)
    d->flags = 0;
  return reason;
}
