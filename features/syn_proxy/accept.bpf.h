// Cookies that come back: at the tc ingress, where a packet can be given a socket.  The listener takes it for the end of a
// handshake whose beginning it has not seen.  All other packets go on as they are.
//
// Nothing here depends on the generation but the ports and the counter: the key and the time of the last cookie are state.
#pragma once
#include "bpf/sockets.bpf.h"
#include "features/syn_proxy/cookie.bpf.h"

// Kernels from 6.9 on take the cookies of others (include/net/tcp.h, net/core/filter.c).
struct bpf_tcp_req_attrs {
  __u32 rcv_tsval;
  __u32 rcv_tsecr;
  __u16 mss;
  __u8 rcv_wscale;
  __u8 snd_wscale;
  __u8 ecn_ok;
  __u8 wscale_ok;
  __u8 sack_ok;
  __u8 tstamp_ok;
  __u8 usec_ts_ok;
  __u8 reserved[3];
};
struct sock {
  int unused;
};
extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym;

// Cookies that this CPU has just taken.  A packet of data that is received together with the handshake's last one comes
// by here before that one has reached TCP: with a socket of its own it would be taken for another connection's.
#define SYN_TAKEN 64
#define SYN_TAKEN_TIME 20000000  // ns
struct syn_taken {
  __u64 hash[SYN_TAKEN];
  __u64 time[SYN_TAKEN];
};
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct syn_taken);
} syn_takens SEC(".maps");

#define SYN_GO_ON -1  // TC_ACT_UNSPEC, TCX_NEXT

// Reads the headers of an ACK to one of the ports into scratch memory.  Returns the bytes of its options, or -1: something else.
static __always_inline int syn_read_ack(struct __sk_buff *skb, struct ps_packet *p, struct syn_options *o, __u32 *sequence, __u32 *acknowledged)
{
  struct ps_datagram *d = &p->outer;
  __u32 transport;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof ip, BPF_HDR_START_NET) || ip.protocol != IPPROTO_TCP ||
        ip.frag_off & bpf_htons(0x3fff))
      return -1;
    d->address[PS_SOURCE].hi = d->address[PS_DESTINATION].hi = 0;
    d->address[PS_SOURCE].lo = PS_V4_MARK | bpf_ntohl(ip.saddr);
    d->address[PS_DESTINATION].lo = PS_V4_MARK | bpf_ntohl(ip.daddr);
    d->flags = PS_IPV4 | PS_PORTS;
    transport = ip.ihl << 2;
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct packet_ipv6 ip;
    if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof ip, BPF_HDR_START_NET) || ip.next_header != IPPROTO_TCP)
      return -1;
    d->address[PS_SOURCE].hi = bpf_be64_to_cpu(ip.source[0]);
    d->address[PS_SOURCE].lo = bpf_be64_to_cpu(ip.source[1]);
    d->address[PS_DESTINATION].hi = bpf_be64_to_cpu(ip.destination[0]);
    d->address[PS_DESTINATION].lo = bpf_be64_to_cpu(ip.destination[1]);
    d->flags = PS_IPV6 | PS_PORTS;
    transport = sizeof ip;
  } else {
    return -1;
  }
  __be32 tcp[5];
  if (bpf_skb_load_bytes_relative(skb, transport, tcp, sizeof tcp, BPF_HDR_START_NET))
    return -1;
  const __u32 ports = bpf_ntohl(tcp[0]), rest = bpf_ntohl(tcp[3]);
  d->protocol = IPPROTO_TCP;
  d->port[PS_SOURCE] = ports >> 16;
  d->port[PS_DESTINATION] = ports;
  *sequence = bpf_ntohl(tcp[1]);
  *acknowledged = bpf_ntohl(tcp[2]);
  // ACK of SYN, RST, ACK.
  if ((rest >> 16 & 0x16) != 0x10 || rest >> 28 < 5 || !syn_port(d->port[PS_DESTINATION]))
    return -1;
  __u32 length = (rest >> 28 << 2) - 20;
  if (!length)
    return 0;
  asm volatile("%0 &= 63" : "+r"(length));  // 40 at most, which the verifier is to see
  if (length == 0 || bpf_skb_load_bytes_relative(skb, transport + 20, o->option, length, BPF_HDR_START_NET))
    return -1;
  return length;
}

// Gives the packet to the listener that it is for, as one whose handshake is known.  1 when done.
static __noinline int syn_give(struct __sk_buff *skb, struct bpf_tcp_req_attrs *attrs)
{
  const struct ps_packet *p = packet_scratch();
  if (!p)
    return 0;
  struct bpf_sock_tuple tuple = {};
  const __u32 size = socket_tuple(&p->outer, &tuple);
  struct bpf_sock *found = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!found)
    return 0;
  int given = 0;
  if (found->state == BPF_TCP_LISTEN) {
    struct sock *sock = (struct sock *)bpf_skc_to_tcp_sock(found);
    if (sock)
      given = !writes() || !bpf_sk_assign_tcp_reqsk(skb, sock, attrs, sizeof *attrs);
  }
  bpf_sk_release(found);
  return given;
}

// A cookie that this CPU took a moment ago?  Remembers it else.
static __always_inline int syn_was_taken(__u64 hash, __u64 now)
{
  __u32 zero = 0, at = hash >> 32 & (SYN_TAKEN - 1);
  struct syn_taken *taken = bpf_map_lookup_elem(&syn_takens, &zero);
  if (!taken)
    return 0;
  if (taken->hash[at] == hash && now - taken->time[at] < SYN_TAKEN_TIME)
    return 1;
  if (writes()) {
    taken->hash[at] = hash;
    taken->time[at] = now;
  }
  return 0;
}

static __always_inline int syn_proxy_accept(struct __sk_buff *skb)
{
  static const __u16 v4[] = PS_SYN_SIZES_V4, v6[] = PS_SYN_SIZES_V6;
  __u32 zero = 0, sequence, acknowledged;
  const __u64 now = clock_now();
  const struct ps_syn_state *state = bpf_map_lookup_elem(&syn_proxy, &zero);
  if (!state || !state->last || now > state->last + PS_SYN_HONOUR)
    return SYN_GO_ON;
  struct ps_packet *p = packet_scratch();
  struct syn_options *o = syn_scratch_options();
  if (!p || !o)
    return SYN_GO_ON;
  const int length = syn_read_ack(skb, p, o, &sequence, &acknowledged);
  if (length < 0)
    return SYN_GO_ON;

  const __u32 cookie = acknowledged - 1, size = cookie >> 29 & 3;
  __u32 time = now >> SYN_TIME_UNIT;
  time -= (cookie >> 31 ^ time) & 1;
  const __u64 hash = syn_hash(state, &p->outer, sequence - 1, time << 2 | size);
  if ((hash ^ cookie) & 0x1fffffff)
    return SYN_GO_ON;

  syn_parse_options(o, length);
  struct bpf_tcp_req_attrs attrs = {};
  attrs.mss = p->outer.flags & PS_IPV4 ? v4[size] : v6[size];
  if (o->stamped) {
    attrs.tstamp_ok = 1;
    attrs.rcv_tsval = o->value;
    attrs.rcv_tsecr = o->echo;
    attrs.sack_ok = o->echo >> 4 & 1;
    attrs.wscale_ok = (o->echo & 15) != SYN_NO_SCALE;
    if (attrs.wscale_ok) {
      attrs.snd_wscale = o->echo & 15;
      attrs.rcv_wscale = o->echo >> 5 & 15;
    }
  }
  if (!core_const.replay && (syn_was_taken(hash, now) || !syn_give(skb, &attrs)))
    return SYN_GO_ON;
  count(syn_const.slot_valid, skb->len);
  return SYN_GO_ON;
}
