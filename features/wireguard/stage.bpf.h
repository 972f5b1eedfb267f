// The stage that guards WireGuard's ports: what is no message of the protocol by its type and length is dropped.
//
// Framing (WireGuard: Next Generation Kernel Network Tunnel, section 5.4): a type in the first byte, three zero bytes.  A
// data message is padded to a multiple of 16 only as far as the tunnel's MTU allows, so any length from 32 on is right.
#pragma once
#include "bpf/parse.bpf.h"
#include "features/wireguard/tables.h"

// Type and the first reserved byte, as a number of the wire.
#define WIREGUARD_INITIATION 0x0100
#define WIREGUARD_RESPONSE 0x0200
#define WIREGUARD_COOKIE 0x0300
#define WIREGUARD_DATA 0x0400

const volatile struct ps_wireguard_const wireguard_const;

// From the stage of limits: where the packet is counted as over limit `index`, or PS_NO_SLOT.
__u32 limit_slot(__u32 index);

static __always_inline int wireguard_guards(const struct ps_datagram *d)
{
  if (d->protocol != IPPROTO_UDP || !(d->flags & PS_PORTS))
    return 0;
  for (__u32 i = 0; i < PS_WIREGUARD_PORTS && i < wireguard_const.ports; i++)
    if (d->port[PS_DESTINATION] == wireguard_const.port[i])
      return 1;
  return 0;
}

// The type of the message that follows the UDP header, by its length in that header; 0: it is none.
static __always_inline int wireguard_message(struct xdp_md *ctx, const struct ps_datagram *d)
{
  const __be16 *udp = packet_header(ctx, d->transport, 12);
  if (!udp || d->end - d->transport < 12)
    return 0;
  const __u32 length = bpf_ntohs(udp[2]) - 8, type = bpf_ntohs(udp[4]);
  if (udp[5])
    return 0;
  switch (type) {
  case WIREGUARD_INITIATION:
    return length == 148 ? type : 0;
  case WIREGUARD_RESPONSE:
    return length == 92 ? type : 0;
  case WIREGUARD_COOKIE:
    return length == 64 ? type : 0;
  case WIREGUARD_DATA:
    return length >= 32 ? type : 0;
  default:
    return 0;
  }
}

// PS_DROP, counted, for what the guard keeps out; else PS_PASS.
static __always_inline int wireguard_stage(struct xdp_md *ctx, const struct ps_packet *p)
{
  if (!wireguard_guards(&p->outer))
    return PS_PASS;
  const int message = wireguard_message(ctx, &p->outer);
  __u32 dropped = message ? PS_NO_SLOT : wireguard_const.slot_invalid;
  if (message)
    trace_event(PS_TRACE_WIREGUARD, p->outer.port[PS_DESTINATION], message >> 8, 0);
  if (wireguard_const.limited && message == WIREGUARD_INITIATION)
    dropped = limit_slot(wireguard_const.limit);
  if (dropped != PS_NO_SLOT) {
    count(dropped, p->length);
    return PS_DROP;
  }
  return PS_PASS;
}
