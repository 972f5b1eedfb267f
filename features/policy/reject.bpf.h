// `action: reject`: the packet becomes its own answer and leaves where it came from.  TCP is answered with a reset
// (RFC 9293 3.10.7.1), UDP with port unreachable, all else with "administratively prohibited" (RFC 1812 5.2.7.1,
// RFC 4443 3.1), which quote the packet.  Rare by its rate limit, so this is written for size, not for speed.
#pragma once
#include "bpf/answer_error.bpf.h"
#include "features/policy/fragments.bpf.h"
#include "features/policy/talkers.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_reject);
} policy_rejects SEC(".maps");

// Makes the packet the reset that answers it.  Returns 0 when done.
__noinline int reject_reset(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  struct answer_link link;
  struct answer_ip ip;
  if (!policy_const.rejects || !p)
    return -1;
  const struct ps_datagram *d = &p->outer;
  if (answer_link(ctx, p, &link))
    return -1;
  const __be32 *h = packet_header(ctx, d->transport, 20);
  if (!h)
    return -1;
  const __u32 header = bpf_ntohl(h[3]) >> 28 << 2;
  const __u32 length = d->end - d->transport - header + !!(d->tcp_flags & 1) + !!(d->tcp_flags & 2);
  __u32 tcp[5] = {};
  tcp[0] = bpf_htonl((__u32)d->port[PS_DESTINATION] << 16 | d->port[PS_SOURCE]);
  if (d->tcp_flags & 16) {
    tcp[1] = h[2];                                // <SEQ=SEG.ACK><CTL=RST>
    tcp[3] = bpf_htonl(5u << 28 | 4 << 16);
  } else {
    tcp[2] = bpf_htonl(bpf_ntohl(h[1]) + length);  // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    tcp[3] = bpf_htonl(5u << 28 | 20 << 16);
  }
  answer_put_header(d, &ip, IPPROTO_TCP, sizeof tcp);
  __u64 sum = (__u64)ip.pseudo + bpf_htonl(IPPROTO_TCP) + bpf_htonl(sizeof tcp);
  for (int i = 0; i < 5; i++)
    sum += tcp[i];
  tcp[4] = bpf_htonl((__u32)bpf_ntohs(answer_checksum(sum)) << 16);
  const __u32 at = d->network;
  if (answer_cut(ctx, at + ip.size + sizeof tcp) || answer_store_link(ctx, p, &link) || answer_store_header(ctx, at, &ip))
    return -1;
  return answer_store(ctx, at + ip.size, tcp, sizeof tcp);
}

// Type and code of the ICMP error that rejects the packet.
static __always_inline __u32 reject_unreachable(const struct ps_datagram *d)
{
  const __u32 udp = d->protocol == IPPROTO_UDP;
  return d->flags & PS_IPV4 ? 3 << 8 | (udp ? 3 : 13) : 1 << 8 | (udp ? 4 : 1);
}

// Rejects the packet and counts what came of it in one of the slots of entry `index`: PS_TX, or PS_DROP without an answer.
// `policy` as in policy_fragment_remember(): later fragments are dropped.  `then`: enum ps_then of the rule.
__noinline int policy_reject(struct xdp_md *ctx, __u32 index, __u32 policy, __u32 then)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_reject *slots = bpf_map_lookup_elem(&policy_rejects, &index);
  if (!policy_const.rejects || !p || !slots)
    return PS_DROP;
  const __u32 length = p->length;
  if (p->outer.flags & PS_FIRST_FRAGMENT)
    policy_fragment_remember(policy, slots->unanswered, PS_DROP);
  if (then & PS_THEN_COUNTS)
    policy_talk(slots->answered, then);
  if (answer_never(ctx, &p->outer)) {
    count(slots->unanswered, length);
    return PS_DROP;
  }
  if (!answer_may()) {
    count(slots->limited, length);
    return PS_DROP;
  }
  if (p->outer.protocol == IPPROTO_TCP ? reject_reset(ctx) : answer_error(ctx, reject_unreachable(&p->outer), 0)) {
    count(slots->unanswered, length);
    return PS_DROP;
  }
  count(slots->answered, length);
  return PS_TX;
}
