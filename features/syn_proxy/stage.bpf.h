// SYNs that come faster than a port's listener should see are answered here, with cookies; features/syn_proxy/accept.bpf.h
// takes the cookies that come back.  Runs on what the policies accept.
#pragma once
#include "bpf/answer.bpf.h"
#include "bpf/sockets.bpf.h"
#include "features/syn_proxy/cookie.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_syn_rate);
} syn_rates SEC(".maps");

enum syn_state { SYN_QUIET, SYN_HELD, SYN_OVER };

// Counts a SYN.  The line is written at most `over` times a second, whatever comes: no CPU waits for another's flood.
// SYN_OVER: this second has had more than its share; SYN_HELD: one of the last few had.
static __always_inline enum syn_state syn_count(struct ps_syn_rate *rate, __u64 now)
{
  const __u32 second = now >> PS_SYN_SECOND;
  const __u64 word = *(volatile __u64 *)&rate->second;
  const __u64 until = *(volatile __u64 *)&rate->until;
  const int over = word >> 32 == second && (__u32)word >= syn_const.over;
  trace_event(PS_TRACE_SYN_RATE, word >> 32 == second ? word : 0, over, now < until);
  if (writes()) {
    if (word >> 32 != second)
      *(volatile __u64 *)&rate->second = (__u64)second << 32 | 1;
    else if (!over)
      __sync_fetch_and_add(&rate->second, 1);
    else if (now + PS_SYN_HOLD - until > PS_SYN_HOLD / 16)
      *(volatile __u64 *)&rate->until = now + PS_SYN_HOLD;
  }
  return over ? SYN_OVER : now < until ? SYN_HELD : SYN_QUIET;
}

// Is the packet for an address of this host?  The routes tell, once a tick of the clock for an address that many SYNs have.
static __always_inline int syn_is_local(struct xdp_md *ctx, const struct ps_datagram *d, const struct bpf_sock_tuple *tuple)
{
  struct syn_options *o = syn_scratch_options();
  if (!o)
    return 0;
  const __u64 now = o->now;
  const struct ps_address *to = &d->address[PS_DESTINATION];
  if (o->local_at == now && o->local.lo == to->lo && o->local.hi == to->hi)
    return 1;
  struct bpf_fib_lookup route = {};
  route.ifindex = ctx->ingress_ifindex;
  if (d->flags & PS_IPV4) {
    route.family = 2;  // AF_INET
    route.ipv4_src = tuple->ipv4.saddr;
    route.ipv4_dst = tuple->ipv4.daddr;
  } else {
    route.family = 10;  // AF_INET6
    __builtin_memcpy(route.ipv6_src, tuple->ipv6.saddr, 16);
    __builtin_memcpy(route.ipv6_dst, tuple->ipv6.daddr, 16);
  }
  const long found = bpf_fib_lookup(ctx, &route, sizeof route, 0);
  if (found != BPF_FIB_LKUP_RET_NOT_FWDED && found != BPF_FIB_LKUP_RET_FWD_DISABLED)
    return 0;
  o->local = *to;
  o->local_at = now;
  return 1;
}

// Is the SYN for a socket that listens on this host?  A connection that exists already is none, and one that ended a moment
// ago: the host knows what to say.  A listener may be bound to no address, so that is asked as well.
static __noinline int syn_listens(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  if (core_const.replay)
    return 1;
  if (!p)
    return 0;
  const struct ps_datagram *d = &p->outer;
  struct bpf_sock_tuple tuple = {};
  const __u32 size = socket_tuple(d, &tuple);
  struct bpf_sock *sock = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!sock)
    return 0;
  int listens = sock->state == BPF_TCP_LISTEN;
  // Kernels that take cookies take none for MPTCP: those SYNs are left to the host.
  if (syn_const.cookies && listens && bpf_skc_to_mptcp_sock(sock))
    listens = 0;
  bpf_sk_release(sock);
  return listens && syn_is_local(ctx, d, &tuple);
}

// What nobody may or can answer: fragments, extension headers (those who take the cookie back read none), more than the
// one tag that the host takes off, senders that are no host.
static __always_inline int syn_answerable(struct xdp_md *ctx, const struct ps_packet *p)
{
  const struct ps_datagram *d = &p->outer;
  const __u32 ipv4 = d->flags & PS_IPV4;
  if (d->flags & (PS_FIRST_FRAGMENT | PS_OPTIONS) || p->vlans > 1 || !answer_one_host(&d->address[PS_SOURCE], ipv4) ||
      !answer_one_host(&d->address[PS_DESTINATION], ipv4))
    return 0;
  const __u8 *to = (void *)(long)ctx->data;
  return core_const.no_ethernet || ((void *)(to + 1) <= (void *)(long)ctx->data_end && !(*to & 1));
}

// The largest size that a cookie can tell and the client can take; the least where it can take none of them.
static __always_inline __u32 syn_size(__u32 ipv4, __u32 mss)
{
  static const __u16 v4[] = PS_SYN_SIZES_V4, v6[] = PS_SYN_SIZES_V6;
  __u32 size = 0;
  for (__u32 i = 1; i < 4; i++)
    if (mss >= (ipv4 ? v4[i] : v6[i]))
      size = i;
  return size;
}

// Copies the SYN's options to scratch memory.  Returns how many bytes, or -1 where the header is not in the linear part.
static __always_inline int syn_load_options(struct xdp_md *ctx, const struct ps_datagram *d, struct syn_options *o, __u32 *sequence)
{
  void *end = (void *)(long)ctx->data_end;
  const __be32 *h = (void *)(long)ctx->data + (d->transport & 0x7fff);
  if ((void *)(h + 5) > end)
    return -1;
  *sequence = bpf_ntohl(h[1]);
  const __u32 words = (bpf_ntohl(h[3]) >> 28) - 5;
  for (__u32 i = 0; i < 10; i++) {
    if (i >= words)
      break;
    if ((void *)(h + 6 + i) > end)
      return -1;
    ((__u32 *)o->option)[i] = h[5 + i];
  }
  return words << 2;
}

// Makes the SYN the SYN-ACK that answers it.  What the client did not ask for is not offered, so the answer is never
// longer.  Returns 0 when done.
__noinline int syn_answer(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  struct syn_options *o = syn_scratch_options();
  __u32 zero = 0, sequence = 0;
  struct ps_syn_state *state = bpf_map_lookup_elem(&syn_proxy, &zero);
  if (!syn_const.ports || !p || !o || !state)
    return -1;
  const struct ps_datagram *d = &p->outer;
  const int length = syn_load_options(ctx, d, o, &sequence);
  if (length < 0)
    return -1;
  syn_parse_options(o, length);

  const __u64 now = o->now;
  const __u32 ipv4 = !!(d->flags & PS_IPV4);
  const __u32 cookie = syn_cookie(state, d, sequence, now >> SYN_TIME_UNIT, syn_size(ipv4, o->mss));
  __u32 tcp[10] = {};
  __u32 words = 5;
  if (o->mss)
    tcp[words++] = bpf_htonl(2u << 24 | 4 << 16 | syn_const.mss[!ipv4]);
  if (o->stamped && syn_const.offers & PS_SYN_TIMESTAMPS) {
    const int sack = o->sack && syn_const.offers & PS_SYN_SACK;
    const int scale = o->scale != SYN_NO_SCALE && syn_const.offers & PS_SYN_SCALE;
    const __u32 carried = (scale ? o->scale : SYN_NO_SCALE) | sack << 4 | (__u32)syn_const.scale << 5;
    const __u32 stamp = ((__u32)(now >> SYN_STAMP_UNIT) & ~((1u << SYN_STAMP_BITS) - 1)) | carried;
    const __u32 first = sack ? bpf_htonl(0x0402080a) : bpf_htonl(0x0101080a), echo = bpf_htonl(o->value);
    if (o->mss) {
      tcp[6] = first;
      tcp[7] = bpf_htonl(stamp);
      tcp[8] = echo;
    } else {
      tcp[5] = first;
      tcp[6] = bpf_htonl(stamp);
      tcp[7] = echo;
    }
    words += 3;
    if (scale) {
      const __u32 last = bpf_htonl(0x01030300 | syn_const.scale);
      if (o->mss)
        tcp[9] = last;
      else
        tcp[8] = last;
      words++;
    }
  }
  tcp[0] = bpf_htonl((__u32)d->port[PS_DESTINATION] << 16 | d->port[PS_SOURCE]);
  tcp[1] = bpf_htonl(cookie);
  tcp[2] = bpf_htonl(sequence + 1);
  tcp[3] = bpf_htonl(words << 28 | 0x12 << 16 | syn_const.window);

  struct answer_ip ip;
  answer_header(d, &ip, IPPROTO_TCP, words << 2, 0, d->address[PS_DESTINATION]);
  __u64 sum = (__u64)ip.pseudo + bpf_htonl(IPPROTO_TCP) + bpf_htonl(words << 2);
  for (int i = 0; i < 10; i++)
    sum += tcp[i];
  tcp[4] = bpf_htonl((__u32)bpf_ntohs(answer_checksum(sum)) << 16);

  const __u32 at = d->network & 0x7fff;
  const int delta = (int)(at + ip.size + (words << 2)) - (int)packet_length(ctx);
  if (delta > 0 || (delta && bpf_xdp_adjust_tail(ctx, delta)))
    return -1;
  void *end = (void *)(long)ctx->data_end;
  if (!core_const.no_ethernet) {
    __u8 *link = (void *)(long)ctx->data, mac[ETH_ALEN];
    if ((void *)(link + ETH_HLEN) > end)
      return -1;
    __builtin_memcpy(mac, link, ETH_ALEN);
    __builtin_memcpy(link, link + ETH_ALEN, ETH_ALEN);
    __builtin_memcpy(link + ETH_ALEN, mac, ETH_ALEN);
  }
  __u32 *to = (void *)(long)ctx->data + at;
  for (__u32 i = 0; i < 10; i++) {
    if (i >= ip.size >> 2)
      break;
    if ((void *)(to + 1) > end)
      return -1;
    *to++ = ip.word[i];
  }
  for (__u32 i = 0; i < 10; i++) {
    if (i >= words)
      break;
    if ((void *)(to + 1) > end)
      return -1;
    *to++ = tcp[i];
  }
  if (writes() && now - state->last > PS_SYN_HONOUR / 600)
    *(volatile __u64 *)&state->last = now;
  return 0;
}

// The verdict on a SYN to one of the ports.
__noinline int syn_judge(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  __u32 index = hook_const.interface & (PS_SYN_INTERFACES - 1);
  struct ps_syn_rate *rate = bpf_map_lookup_elem(&syn_rates, &index);
  struct syn_options *o = syn_scratch_options();
  if (!syn_const.ports || !p || !rate || !o)
    return PS_PASS;
  o->now = clock_now();
  const enum syn_state state = syn_count(rate, o->now);
  if (state == SYN_QUIET || (!syn_const.cookies && state != SYN_OVER))
    return PS_PASS;
  const __u32 length = p->length;
  const int listens = syn_listens(ctx);
  trace_event(PS_TRACE_SYN_LISTENS, listens, 0, 0);
  if (!listens)
    return PS_PASS;
  if (!syn_const.cookies || !syn_answerable(ctx, p) || syn_answer(ctx)) {
    count(syn_const.slot_limited, length);
    return PS_DROP;
  }
  count(syn_const.slot_cookie, length);
  return PS_TX;
}

// For a packet that the policies accept: PS_PASS, PS_DROP or PS_TX, the latter two counted.
static __always_inline int syn_proxy_stage(struct xdp_md *ctx, const struct ps_packet *p)
{
  const struct ps_datagram *d = &p->outer;
  // SYN of FIN, SYN, RST, ACK.
  if (d->protocol != IPPROTO_TCP || !(d->flags & PS_PORTS) || (d->tcp_flags & 0x17) != 2 || !syn_port(d->port[PS_DESTINATION]))
    return PS_PASS;
  return syn_judge(ctx);
}
