// What packets that answer a packet have in common: their IP header and checksums.
#pragma once
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/packet.h"

// What an answer says in front of its transport header, in both families.
struct answer_ip {
  __u32 word[10];
  __u32 size;      // bytes in use, 20 or 40
  __u32 pseudo;    // sum of the addresses
};

static __always_inline __u64 answer_fold(__u64 sum)
{
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return (sum >> 16) + (sum & 0xffff);
}

static __always_inline __u16 answer_checksum(__u64 sum)
{
  return ~answer_fold(sum);
}

// An address that names one host: no group, no broadcast, not "unspecified", not the sender's own loopback.
static __always_inline int answer_one_host(const struct ps_address *a, __u32 ipv4)
{
  if (ipv4) {
    const __u32 first = (__u32)a->lo >> 24;
    return first != 0 && first != 127 && first < 224;
  }
  return a->hi >> 56 != 0xff && (a->hi || a->lo > 1);
}

// Fills in an IP header: from `own` back to the source of `d`.  `class`: the TOS byte, of IPv4 only.
static __always_inline void answer_header(const struct ps_datagram *d, struct answer_ip *ip, __u32 protocol, __u32 payload,
                                          __u32 class, struct ps_address own)
{
  __builtin_memset(ip, 0, sizeof *ip);
  if (d->flags & PS_IPV4) {
    ip->size = 20;
    ip->word[0] = bpf_htonl(0x45000000u | class << 16 | (20 + payload));
    ip->word[1] = bpf_htonl(0x4000);  // don't fragment
    ip->word[2] = bpf_htonl(64u << 24 | protocol << 16);
    ip->word[3] = bpf_htonl((__u32)own.lo);
    ip->word[4] = bpf_htonl((__u32)d->address[PS_SOURCE].lo);
    __u64 sum = 0;
    for (int i = 0; i < 5; i++)
      sum += ip->word[i];
    ip->word[2] |= (__u32)bpf_htonl(bpf_ntohs(answer_checksum(sum)));
    ip->pseudo = answer_fold((__u64)ip->word[3] + ip->word[4]);
    return;
  }
  const struct ps_address *to = &d->address[PS_SOURCE];
  ip->size = 40;
  ip->word[0] = bpf_htonl(6u << 28);
  ip->word[1] = bpf_htonl(payload << 16 | protocol << 8 | 64);
  ip->word[2] = bpf_htonl(own.hi >> 32);
  ip->word[3] = bpf_htonl(own.hi);
  ip->word[4] = bpf_htonl(own.lo >> 32);
  ip->word[5] = bpf_htonl(own.lo);
  ip->word[6] = bpf_htonl(to->hi >> 32);
  ip->word[7] = bpf_htonl(to->hi);
  ip->word[8] = bpf_htonl(to->lo >> 32);
  ip->word[9] = bpf_htonl(to->lo);
  __u64 sum = 0;
  for (int i = 2; i < 10; i++)
    sum += ip->word[i];
  ip->pseudo = answer_fold(sum);
}
