// A packet as the helpers that look for sockets want to be told of it.
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>

#include "bpf/packet.h"

// Fills in the addresses and ports of `d`.  Returns the tuple's size, which tells its family.
static __always_inline __u32 socket_tuple(const struct ps_datagram *d, struct bpf_sock_tuple *tuple)
{
  if (d->flags & PS_IPV4) {
    tuple->ipv4.saddr = bpf_htonl(d->address[PS_SOURCE].lo);
    tuple->ipv4.daddr = bpf_htonl(d->address[PS_DESTINATION].lo);
    tuple->ipv4.sport = bpf_htons(d->port[PS_SOURCE]);
    tuple->ipv4.dport = bpf_htons(d->port[PS_DESTINATION]);
    return sizeof tuple->ipv4;
  }
  __be64 *source = (__be64 *)tuple->ipv6.saddr, *destination = (__be64 *)tuple->ipv6.daddr;
  source[0] = bpf_cpu_to_be64(d->address[PS_SOURCE].hi);
  source[1] = bpf_cpu_to_be64(d->address[PS_SOURCE].lo);
  destination[0] = bpf_cpu_to_be64(d->address[PS_DESTINATION].hi);
  destination[1] = bpf_cpu_to_be64(d->address[PS_DESTINATION].lo);
  tuple->ipv6.sport = bpf_htons(d->port[PS_SOURCE]);
  tuple->ipv6.dport = bpf_htons(d->port[PS_DESTINATION]);
  return sizeof tuple->ipv6;
}
