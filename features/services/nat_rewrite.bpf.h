// A packet with other addresses and ports: its headers, those that it quotes, and all checksums, by what changed (RFC 1624,
// equation 3).
#pragma once
#include "features/services/forward.bpf.h"
#include "features/services/fragments.bpf.h"

// What the packet at hand becomes.
struct nat_packet {
  struct ps_address address[2];  // by enum ps_side
  __u16 port[2];
  __u32 keeps_source;            // of an ICMP error's own header: the source stays, whatever that of the quoted packet does
  __u32 place;                   // in `service_ports`
  __u32 backend;
  __u64 print;
};
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct nat_packet);
} nat_scratch SEC(".maps");

static __always_inline struct nat_packet *nat_packet(void)
{
  __u32 zero = 0;
  return bpf_map_lookup_elem(&nat_scratch, &zero);
}

// Writes a changed header back where packet_header() gave a copy of it.
static __always_inline long nat_back(struct xdp_md *ctx, __u32 offset, __u32 size)
{
  if (!PACKET_FRAGS || (void *)(long)ctx->data + (offset & 0x7fff) + size <= (void *)(long)ctx->data_end)
    return 0;
  __u32 zero = 0;
  void *copy = bpf_map_lookup_elem(&packet_copies, &zero);
  return copy ? bpf_xdp_store_bytes(ctx, offset & 0x7fff, copy, size) : -1;
}

#define NAT_FAILED 0xffffffffu

// The checksum behind a change of what it covers by `delta`.
static __always_inline __u16 nat_checksum(__u16 checksum, __u64 delta)
{
  return answer_checksum((__u64)(__u16)~checksum + delta);
}

// Puts the addresses into an IP header, of the packet or of the one that it quotes, whose direction is the other.  `hops`: how
// many its time to live falls by.  Returns what the addresses change in a sum over them, NAT_FAILED where there is no header.
__noinline __u32 nat_addresses(struct xdp_md *ctx, __u32 quoted, __u32 hops)
{
  const struct ps_packet *p = packet_scratch();
  const struct nat_packet *t = nat_packet();
  if (!nat_const.on || !p || !t)
    return NAT_FAILED;
  const __u32 at = quoted ? p->quoted.network : p->outer.network;
  const struct ps_address *from = quoted ? &t->address[PS_DESTINATION] : t->keeps_source ? &p->outer.address[PS_SOURCE] : &t->address[PS_SOURCE];
  const struct ps_address *to = quoted ? &t->address[PS_SOURCE] : &t->address[PS_DESTINATION];
  if (p->outer.flags & PS_IPV4) {
    __u32 *ip = packet_header(ctx, at, 20);
    if (!ip)
      return NAT_FAILED;
    const __u32 source = bpf_htonl((__u32)from->lo), destination = bpf_htonl((__u32)to->lo);
    const __u64 sum = (__u64)(__u32)~ip[3] + source + (__u32)~ip[4] + destination;
    __u16 *half = (__u16 *)ip;
    const __u16 life = half[4] - bpf_htons(hops << 8);
    half[5] = nat_checksum(half[5], sum + (__u16)~half[4] + life);
    half[4] = life;
    ip[3] = source;
    ip[4] = destination;
    if (nat_back(ctx, at, 20))
      return NAT_FAILED;
    return answer_fold(sum);
  }
  __u32 *ip = packet_header(ctx, at, 40);
  if (!ip)
    return NAT_FAILED;
  const __u32 next[8] = {bpf_htonl(from->hi >> 32), bpf_htonl((__u32)from->hi), bpf_htonl(from->lo >> 32), bpf_htonl((__u32)from->lo),
                         bpf_htonl(to->hi >> 32), bpf_htonl((__u32)to->hi), bpf_htonl(to->lo >> 32), bpf_htonl((__u32)to->lo)};
  __u64 sum = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    sum += (__u64)(__u32)~ip[2 + i] + next[i];
    ip[2 + i] = next[i];
  }
  ((__u8 *)ip)[7] -= hops;
  if (nat_back(ctx, at, 40))
    return NAT_FAILED;
  return answer_fold(sum);
}

// Puts the ports into a TCP or UDP header; `delta`: of nat_addresses.  A quoted header may end before its checksum.  Returns
// what changed in a sum over the header, NAT_FAILED where there is none.
__noinline __u32 nat_ports(struct xdp_md *ctx, __u32 quoted, __u32 delta)
{
  const struct ps_packet *p = packet_scratch();
  const struct nat_packet *t = nat_packet();
  if (!nat_const.on || !p || !t)
    return NAT_FAILED;
  const struct ps_datagram *d = quoted ? &p->quoted : &p->outer;
  const __u32 at = d->transport, udp = d->protocol == IPPROTO_UDP;
  const __u16 from = bpf_htons(quoted ? t->port[PS_DESTINATION] : t->port[PS_SOURCE]);
  const __u16 to = bpf_htons(quoted ? t->port[PS_SOURCE] : t->port[PS_DESTINATION]);
  __u16 *h;
  __u64 sum;
  if (udp) {
    h = packet_header(ctx, at, 8);
    if (!h)
      return NAT_FAILED;
    sum = (__u64)(__u16)~h[0] + from + (__u16)~h[1] + to;
    h[0] = from;
    h[1] = to;
    const __u16 before = h[3];
    if (before) {  // else it has none, and none is made
      const __u16 after = nat_checksum(before, sum + delta);
      h[3] = after ? after : 0xffff;
      sum += (__u64)(__u16)~before + h[3];
    }
    return nat_back(ctx, at, 8) ? NAT_FAILED : answer_fold(sum);
  }
  if (d->end - at < 18) {
    h = packet_header(ctx, at, 4);
    if (!h)
      return NAT_FAILED;
    sum = (__u64)(__u16)~h[0] + from + (__u16)~h[1] + to;
    h[0] = from;
    h[1] = to;
    return nat_back(ctx, at, 4) ? NAT_FAILED : answer_fold(sum);
  }
  h = packet_header(ctx, at, 18);
  if (!h)
    return NAT_FAILED;
  sum = (__u64)(__u16)~h[0] + from + (__u16)~h[1] + to;
  h[0] = from;
  h[1] = to;
  const __u16 before = h[8];
  h[8] = nat_checksum(before, sum + delta);
  sum += (__u64)(__u16)~before + h[8];
  return nat_back(ctx, at, 18) ? NAT_FAILED : answer_fold(sum);
}

// The packet that an ICMP error quotes, and the error's checksum; `delta`: of its own addresses.
__noinline int nat_quote(struct xdp_md *ctx, __u32 delta)
{
  const struct ps_packet *p = packet_scratch();
  if (!nat_const.on || !p)
    return -1;
  const __u32 ipv4 = p->outer.flags & PS_IPV4, at = p->outer.transport;
  const __u32 addresses = nat_addresses(ctx, 1, 0);
  if (addresses == NAT_FAILED)
    return -1;
  const __u32 ports = nat_ports(ctx, 1, addresses);
  __u16 *h = packet_header(ctx, at, 4);
  if (ports == NAT_FAILED || !h)
    return -1;
  // A header of IPv4 has its own checksum within, so that its sum is what it was; ICMPv6 covers the outer addresses.
  h[1] = nat_checksum(h[1], (__u64)ports + (ipv4 ? 0 : addresses + delta));
  return nat_back(ctx, at, 4);
}

// Makes the packet what nat_packet says.  Returns 0 when done.
__noinline int nat_rewrite(struct xdp_md *ctx, __u32 hops)
{
  const struct ps_packet *p = packet_scratch();
  if (!nat_const.on || !p)
    return -1;
  const __u32 delta = nat_addresses(ctx, 0, hops);
  if (delta == NAT_FAILED)
    return -1;
  if (p->outer.flags & PS_QUOTES)
    return nat_quote(ctx, delta);
  if (p->outer.flags & PS_PORTS)
    return nat_ports(ctx, 0, delta) == NAT_FAILED ? -1 : 0;
  return 0;
}
