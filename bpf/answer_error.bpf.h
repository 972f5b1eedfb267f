// Packets that become their own answer: the ICMP or ICMPv6 error about them, sent back where they came from (RFC 792,
// RFC 4443).  Rare by their rate limit, so this is written for size, not for speed.
#pragma once
#include "bpf/answer.h"
#include "bpf/answer.bpf.h"
#include "bpf/parse.bpf.h"

const volatile struct ps_answer_const answer_const;

#define ANSWER_QUOTE_V4 576u    // bytes of the answer from its IP header on, at most (RFC 1812 4.3.2.3)
#define ANSWER_QUOTE_V6 1280u   // RFC 4443 2.4 (c)
#define ANSWER_ICMP 8u          // bytes of an ICMP header
#define ANSWER_CHUNK 16u

// By CPU, the time at which its answers would be at their rate.  The loader leaves it out where nothing answers.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, PS_ANSWER_LANES);
  __type(key, __u32);
  __type(value, __u64);
} answer_rate SEC(".maps");

// Writes `size` bytes (a constant) at `offset`.  Returns 0 when done.
static __always_inline long answer_store(struct xdp_md *ctx, __u32 offset, void *from, __u32 size)
{
  if (PACKET_FRAGS)
    return bpf_xdp_store_bytes(ctx, offset & 0x7fff, from, size);
  void *to = (void *)(long)ctx->data + (offset & 0x7fff);
  if (to + size > (void *)(long)ctx->data_end)
    return -1;
  __builtin_memcpy(to, from, size);
  return 0;
}

static __always_inline int answer_may(void)
{
  __u32 lane = bpf_get_smp_processor_id() % PS_ANSWER_LANES;
  __u64 *rate = bpf_map_lookup_elem(&answer_rate, &lane);
  if (!rate)
    return 0;
  const __u64 now = clock_now();
  const __u64 due = *rate > now ? *rate : now;
  if (due - now > (PS_ANSWER_BURST - 1) * PS_ANSWER_EACH)
    return 0;
  if (writes())
    *rate = due + PS_ANSWER_EACH;
  return 1;
}

// Is the packet one that nobody may answer?  (RFC 1122 3.2.2, RFC 4443 2.4 (e), RFC 9293 3.10.7.1)
static __always_inline int answer_never(struct xdp_md *ctx, const struct ps_datagram *d)
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
static __always_inline void answer_put_header(const struct ps_datagram *d, struct answer_ip *ip, __u32 protocol, __u32 payload)
{
  struct ps_address own = d->address[PS_DESTINATION];
  if (protocol == IPPROTO_TCP) {
    answer_header(d, ip, protocol, payload, 0, own);
    return;
  }
  if (d->flags & PS_IPV4 && answer_const.v4) {
    own.lo = answer_const.v4;
  } else if (!(d->flags & PS_IPV4) && (answer_const.v6.hi || answer_const.v6.lo)) {
    own.hi = answer_const.v6.hi;
    own.lo = answer_const.v6.lo;
  }
  answer_header(d, ip, protocol, payload, 0xc0, own);
}

static __always_inline long answer_store_header(struct xdp_md *ctx, __u32 at, struct answer_ip *ip)
{
  return ip->size == 20 ? answer_store(ctx, at, ip->word, 20) : answer_store(ctx, at, ip->word, 40);
}

// Lets the frame end at `end`, which is not beyond its end.
static __always_inline long answer_cut(struct xdp_md *ctx, __u32 end)
{
  __u32 length = packet_length(ctx);
  asm volatile("" : "+r"(length));  // else it may be taken apart again, into pointers that only differences are allowed of
  const int delta = (int)end - (int)length;
  return delta < 0 ? bpf_xdp_adjust_tail(ctx, delta) : delta;
}

struct answer_link {
  __u8 mac[12];
  __be16 type;
  __u32 tag[2];  // number and the type behind it, as on the wire
};

// Reads the link header and turns its direction round.  Returns 0 when done.
static __always_inline long answer_link(struct xdp_md *ctx, const struct ps_packet *p, struct answer_link *link)
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

static __always_inline long answer_store_link(struct xdp_md *ctx, const struct ps_packet *p, struct answer_link *link)
{
  if (core_const.no_ethernet)
    return 0;
  long error = answer_store(ctx, 0, link, ETH_HLEN);
  for (__u32 i = 0; i < 2 && i < p->vlans; i++)
    error |= answer_store(ctx, ETH_HLEN + 4 * i, &link->tag[i], 4);
  return error;
}

// The sum of ANSWER_CHUNK bytes of the frame from `at` on.  A function of its own, as the next ones: a loop that holds
// them would be walked for each way through them.
__noinline __u32 answer_chunk(struct xdp_md *ctx, __u32 at)
{
  __u32 sum = 0;
  const __u16 *h = packet_header(ctx, at, ANSWER_CHUNK);
  if (!h)
    return 0;
  for (__u32 i = 0; i < ANSWER_CHUNK / 2; i++)
    sum += h[i];
  return sum;
}

// Of two bytes.
__noinline __u32 answer_pair(struct xdp_md *ctx, __u32 at)
{
  const __u16 *h = packet_header(ctx, at, 2);
  return h ? *h : 0;
}

// Of one byte, the last of an odd number.
__noinline __u32 answer_last(struct xdp_md *ctx, __u32 at)
{
  const __u8 *h = packet_header(ctx, at, 1);
  return h ? bpf_htons(*h << 8) : 0;
}

// The sum of `length` bytes (at most ANSWER_QUOTE_V6) of the frame from `at` on.
__noinline __u64 answer_sum(struct xdp_md *ctx, __u32 at, __u32 length)
{
  const __u32 end = at + length;
  __u64 sum = 0;
  for (__u32 i = 0; i < ANSWER_QUOTE_V6 / ANSWER_CHUNK; i++) {
    if (at + ANSWER_CHUNK > end)
      break;
    sum += answer_chunk(ctx, at);
    at += ANSWER_CHUNK;
  }
  for (__u32 i = 0; i < ANSWER_CHUNK / 2; i++) {
    if (at + 2 > end)
      break;
    sum += answer_pair(ctx, at);
    at += 2;
  }
  return at < end ? sum + answer_last(ctx, at) : sum;
}

// Makes the packet the ICMP or ICMPv6 error that quotes it: the quote stays where it is, headers go in front of it.
// `what`: type << 8 | code.  `rest`: the second word of the ICMP header, host order.  Returns 0 when done.
__noinline int answer_error(struct xdp_md *ctx, __u32 what, __u32 rest)
{
  const struct ps_packet *p = packet_scratch();
  struct answer_link link;
  struct answer_ip ip;
  if (!answer_const.on || !p)
    return -1;
  const struct ps_datagram *d = &p->outer;
  const __u32 ipv4 = d->flags & PS_IPV4;
  const __u32 front = (ipv4 ? 20 : 40) + ANSWER_ICMP, most = (ipv4 ? ANSWER_QUOTE_V4 : ANSWER_QUOTE_V6) - front;
  __u32 quote = d->end - d->network;
  if (quote > most)
    quote = most;
  if (answer_link(ctx, p, &link) || answer_cut(ctx, d->network + quote))
    return -1;
  answer_put_header(d, &ip, ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, ANSWER_ICMP + quote);
  __u64 sum = answer_sum(ctx, d->network, quote) + bpf_htons(what) + bpf_htonl(rest);
  if (!ipv4)
    sum += (__u64)ip.pseudo + bpf_htonl(IPPROTO_ICMPV6) + bpf_htonl(ANSWER_ICMP + quote);
  __u32 icmp[2] = {bpf_htonl(what << 16 | bpf_ntohs(answer_checksum(sum))), bpf_htonl(rest)};
  if (bpf_xdp_adjust_head(ctx, -(int)front) || answer_store_link(ctx, p, &link) || answer_store_header(ctx, d->network, &ip))
    return -1;
  return answer_store(ctx, d->network + ip.size, icmp, sizeof icmp);
}
