// `action: reject`: the packet becomes its own answer and leaves where it came from.  TCP is answered with a reset
// (RFC 9293 3.10.7.1), UDP with port unreachable, all else with "administratively prohibited" (RFC 1812 5.2.7.1,
// RFC 4443 3.1), which quote the packet.  Rare by its rate limit, so this is written for size, not for speed.
#pragma once
#include "bpf/answer.bpf.h"
#include "bpf/parse.bpf.h"
#include "features/policy/fragments.bpf.h"
#include "features/policy/talkers.bpf.h"

const volatile struct ps_reject_const reject_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_reject);
} policy_rejects SEC(".maps");

// By CPU, the time at which its answers would be at their rate.  The loader leaves it out where no rule rejects.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, PS_REJECT_LANES);
  __type(key, __u32);
  __type(value, __u64);
} policy_reject_rate SEC(".maps");

#define REJECT_QUOTE_V4 576u    // bytes of the answer from its IP header on, at most (RFC 1812 4.3.2.3)
#define REJECT_QUOTE_V6 1280u   // RFC 4443 2.4 (c)
#define REJECT_ICMP 8u          // bytes of an ICMP header
#define REJECT_CHUNK 16u

// Writes `size` bytes (a constant) at `offset`.  Returns 0 when done.
static __always_inline long reject_store(struct xdp_md *ctx, __u32 offset, void *from, __u32 size)
{
  if (PACKET_FRAGS)
    return bpf_xdp_store_bytes(ctx, offset & 0x7fff, from, size);
  void *to = (void *)(long)ctx->data + (offset & 0x7fff);
  if (to + size > (void *)(long)ctx->data_end)
    return -1;
  __builtin_memcpy(to, from, size);
  return 0;
}

static __always_inline int reject_may_write(void)
{
  __u32 lane = bpf_get_smp_processor_id() % PS_REJECT_LANES;
  __u64 *rate = bpf_map_lookup_elem(&policy_reject_rate, &lane);
  if (!rate)
    return 0;
  const __u64 now = clock_now();
  const __u64 due = *rate > now ? *rate : now;
  if (due - now > (PS_REJECT_BURST - 1) * PS_REJECT_EACH)
    return 0;
  if (writes())
    *rate = due + PS_REJECT_EACH;
  return 1;
}

// Is the packet one that nobody may answer?  (RFC 1122 3.2.2, RFC 4443 2.4 (e), RFC 9293 3.10.7.1)
static __always_inline int reject_never(struct xdp_md *ctx, const struct ps_datagram *d)
{
  const __u32 ipv4 = d->flags & PS_IPV4;
  if (d->flags & (PS_LATER_FRAGMENT | PS_QUOTES) || !answer_one_host(&d->address[PS_SOURCE], ipv4) ||
      !answer_one_host(&d->address[PS_DESTINATION], ipv4))
    return 1;
  if (d->protocol == IPPROTO_TCP && d->tcp_flags & 4)
    return 1;
  if (d->flags & PS_ICMP && !ipv4 && d->icmp_type == 137)  // redirect, an error that does not call itself one
    return 1;
  if (core_const.no_ethernet)
    return 0;
  const __u8 *to = packet_header(ctx, 0, 1);
  return !to || *to & 1;
}

// The answer's IP header: from the packet's destination or, of an ICMP error, from the node, as internetwork control.
static __always_inline void reject_header(const struct ps_datagram *d, struct answer_ip *ip, __u32 protocol, __u32 payload)
{
  struct ps_address own = d->address[PS_DESTINATION];
  if (protocol == IPPROTO_TCP) {
    answer_header(d, ip, protocol, payload, 0, own);
    return;
  }
  if (d->flags & PS_IPV4 && reject_const.v4) {
    own.lo = reject_const.v4;
  } else if (!(d->flags & PS_IPV4) && (reject_const.v6.hi || reject_const.v6.lo)) {
    own.hi = reject_const.v6.hi;
    own.lo = reject_const.v6.lo;
  }
  answer_header(d, ip, protocol, payload, 0xc0, own);
}

static __always_inline long reject_store_header(struct xdp_md *ctx, __u32 at, struct answer_ip *ip)
{
  return ip->size == 20 ? reject_store(ctx, at, ip->word, 20) : reject_store(ctx, at, ip->word, 40);
}

// Lets the frame end at `end`, which is not beyond its end.
static __always_inline long reject_cut(struct xdp_md *ctx, __u32 end)
{
  const int delta = (int)end - (int)packet_length(ctx);
  return delta < 0 ? bpf_xdp_adjust_tail(ctx, delta) : delta;
}

struct reject_link {
  __u8 mac[12];
  __be16 type;
  __u32 tag[2];  // number and the type behind it, as on the wire
};

// Reads the link header and turns its direction round.  Returns 0 when done.
static __always_inline long reject_link(struct xdp_md *ctx, const struct ps_packet *p, struct reject_link *link)
{
  __builtin_memset(link, 0, sizeof *link);
  if (core_const.no_ethernet)
    return 0;
  const __u8 *h = packet_header(ctx, 0, ETH_HLEN);
  if (!h)
    return -1;
  __builtin_memcpy(link->mac, h + ETH_ALEN, ETH_ALEN);
  __builtin_memcpy(link->mac + ETH_ALEN, h, ETH_ALEN);
  __builtin_memcpy(&link->type, h + 12, 2);
  for (__u32 i = 0; i < 2 && i < p->vlans; i++) {
    const __u16 *tag = packet_header(ctx, ETH_HLEN + 4 * i, 4);
    if (!tag)
      return -1;
    __builtin_memcpy(&link->tag[i], tag, 4);
  }
  return 0;
}

static __always_inline long reject_store_link(struct xdp_md *ctx, const struct ps_packet *p, struct reject_link *link)
{
  if (core_const.no_ethernet)
    return 0;
  long error = reject_store(ctx, 0, link, ETH_HLEN);
  for (__u32 i = 0; i < 2 && i < p->vlans; i++)
    error |= reject_store(ctx, ETH_HLEN + 4 * i, &link->tag[i], 4);
  return error;
}

// Makes the packet the reset that answers it.  Returns 0 when done.
__noinline int reject_reset(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  struct reject_link link;
  struct answer_ip ip;
  if (!policy_const.rejects || !p)
    return -1;
  const struct ps_datagram *d = &p->outer;
  if (reject_link(ctx, p, &link))
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
  reject_header(d, &ip, IPPROTO_TCP, sizeof tcp);
  __u64 sum = (__u64)ip.pseudo + bpf_htonl(IPPROTO_TCP) + bpf_htonl(sizeof tcp);
  for (int i = 0; i < 5; i++)
    sum += tcp[i];
  tcp[4] = bpf_htonl((__u32)bpf_ntohs(answer_checksum(sum)) << 16);
  const __u32 at = d->network;
  if (reject_cut(ctx, at + ip.size + sizeof tcp) || reject_store_link(ctx, p, &link) || reject_store_header(ctx, at, &ip))
    return -1;
  return reject_store(ctx, at + ip.size, tcp, sizeof tcp);
}

// The sum of REJECT_CHUNK bytes of the frame from `at` on.  A function of its own, as the next ones: a loop that holds
// them would be walked for each way through them.
__noinline __u32 reject_chunk(struct xdp_md *ctx, __u32 at)
{
  __u32 sum = 0;
  const __u16 *h = packet_header(ctx, at, REJECT_CHUNK);
  if (!h)
    return 0;
  for (__u32 i = 0; i < REJECT_CHUNK / 2; i++)
    sum += h[i];
  return sum;
}

// Of two bytes.
__noinline __u32 reject_pair(struct xdp_md *ctx, __u32 at)
{
  const __u16 *h = packet_header(ctx, at, 2);
  return h ? *h : 0;
}

// Of one byte, the last of an odd number.
__noinline __u32 reject_last(struct xdp_md *ctx, __u32 at)
{
  const __u8 *h = packet_header(ctx, at, 1);
  return h ? bpf_htons(*h << 8) : 0;
}

// The sum of `length` bytes (at most REJECT_QUOTE_V6) of the frame from `at` on.
__noinline __u64 reject_sum(struct xdp_md *ctx, __u32 at, __u32 length)
{
  const __u32 end = at + length;
  __u64 sum = 0;
  for (__u32 i = 0; i < REJECT_QUOTE_V6 / REJECT_CHUNK; i++) {
    if (at + REJECT_CHUNK > end)
      break;
    sum += reject_chunk(ctx, at);
    at += REJECT_CHUNK;
  }
  for (__u32 i = 0; i < REJECT_CHUNK / 2; i++) {
    if (at + 2 > end)
      break;
    sum += reject_pair(ctx, at);
    at += 2;
  }
  return at < end ? sum + reject_last(ctx, at) : sum;
}

// Makes the packet the ICMP or ICMPv6 error that quotes it: the quote stays where it is, headers go in front of it.
__noinline int reject_error(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  struct reject_link link;
  struct answer_ip ip;
  if (!policy_const.rejects || !p)
    return -1;
  const struct ps_datagram *d = &p->outer;
  const __u32 ipv4 = d->flags & PS_IPV4, udp = d->protocol == IPPROTO_UDP;
  const __u32 front = (ipv4 ? 20 : 40) + REJECT_ICMP, most = (ipv4 ? REJECT_QUOTE_V4 : REJECT_QUOTE_V6) - front;
  __u32 quote = d->end - d->network;
  if (quote > most)
    quote = most;
  if (reject_link(ctx, p, &link) || reject_cut(ctx, d->network + quote))
    return -1;
  reject_header(d, &ip, ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, REJECT_ICMP + quote);
  const __u32 type = ipv4 ? 3 : 1, code = ipv4 ? (udp ? 3 : 13) : (udp ? 4 : 1);
  __u64 sum = reject_sum(ctx, d->network, quote) + bpf_htons(type << 8 | code);
  if (!ipv4)
    sum += (__u64)ip.pseudo + bpf_htonl(IPPROTO_ICMPV6) + bpf_htonl(REJECT_ICMP + quote);
  __u32 icmp[2] = {bpf_htonl(type << 24 | code << 16 | bpf_ntohs(answer_checksum(sum))), 0};
  if (bpf_xdp_adjust_head(ctx, -(int)front) || reject_store_link(ctx, p, &link) || reject_store_header(ctx, d->network, &ip))
    return -1;
  return reject_store(ctx, d->network + ip.size, icmp, sizeof icmp);
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
  if (reject_never(ctx, &p->outer)) {
    count(slots->unanswered, length);
    return PS_DROP;
  }
  if (!reject_may_write()) {
    count(slots->limited, length);
    return PS_DROP;
  }
  if (p->outer.protocol == IPPROTO_TCP ? reject_reset(ctx) : reject_error(ctx)) {
    count(slots->unanswered, length);
    return PS_DROP;
  }
  count(slots->answered, length);
  return PS_TX;
}
