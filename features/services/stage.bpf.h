// Services: packets to a frontend go to one of its backends.  Behind the policies, so that rules guard frontends; what is of no
// service passes untouched.
#pragma once
#include "features/services/mss.bpf.h"
#include "features/services/nat.bpf.h"

int set_contains(__u32 set, __u32 side);

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} service_sources SEC(".maps");

#define SERVICE_SOURCES_MAX 8
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129

// May the packet's source use the service?
__noinline int service_admits(__u32 service)
{
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  if (!service_const.sources || !s)
    return 1;
  for (__u32 i = 0; i < SERVICE_SOURCES_MAX; i++) {
    if (i >= s->sources)
      break;
    __u32 at = s->first_source + i;
    const __u32 *set = bpf_map_lookup_elem(&service_sources, &at);
    if (set && set_contains(*set, PS_SOURCE))
      return 1;
  }
  return !s->sources;
}

static __always_inline int service_exit(const struct ps_packet *p, const struct ps_service *s, enum ps_service_exit exit, int verdict)
{
  count(s->slot[exit], p->length);
  return verdict;
}

static __always_inline __u32 service_backend(const struct ps_service *s, __u32 service, __u32 tcp_flags, __u32 observes)
{
  if (nat_const.port_lines && s->flags & PS_SERVICE_SOURCE_NAT)
    return nat_backend(service, tcp_flags, observes);
  return flow_backend(service, tcp_flags, observes);
}

static __always_inline int service_send(struct xdp_md *ctx, const struct ps_service *s, __u32 service, __u32 backend)
{
  if (nat_const.on && s->flags & PS_SERVICE_NAT)
    return nat_forward(ctx, backend);
  return service_forward(ctx, service, backend);
}

// A packet with ports, to a frontend of `service`.
__noinline int service_balance(struct xdp_md *ctx, __u32 service)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_service *s = service_here(service);
  if (!service_const.on || !p)
    return PS_PASS;
  if (!s) {
    if (p->outer.flags & PS_FIRST_FRAGMENT)
      service_fragment_remember(0);
    return PS_PASS;
  }
  trace_event(PS_TRACE_SERVICE, service, 0, 0);
  if (service_const.sources && s->sources && !service_admits(service))
    return service_exit(p, s, PS_EXIT_SOURCE, PS_DROP);
  service_flow_of(&p->outer, PS_SOURCE);
  const __u32 backend = service_backend(s, service, p->outer.tcp_flags, 0);
  if (!backend)
    return service_exit(p, s, PS_EXIT_NO_BACKEND, PS_DROP);
  if (p->outer.flags & PS_FIRST_FRAGMENT)
    service_fragment_remember(backend);
  if (service_const.mss && s->mss && p->outer.protocol == IPPROTO_TCP && p->outer.tcp_flags & TCP_SYN)
    service_clamp(ctx, s->mss);
  return service_send(ctx, s, service, backend);
}

// Answers a ping: the packet goes back with its addresses exchanged.  Returns 0 when done.
__noinline int service_echo(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  if (!service_const.on || !p)
    return -1;
  const struct ps_datagram *d = &p->outer;
  const __u32 ipv4 = d->flags & PS_IPV4;
  struct answer_link link;
  struct answer_ip ip;
  __u16 icmp[2];
  if (answer_never(ctx, d) || answer_link(ctx, p, &link))
    return -1;
  const __u16 *h = packet_header(ctx, d->transport, 8);
  if (!h)
    return -1;
  // The type changes and the checksum follows (RFC 1624, equation 3); addresses change places, which no checksum sees.
  icmp[0] = bpf_htons((ipv4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY) << 8);
  icmp[1] = answer_checksum((__u64)(__u16)~h[1] + (__u16)~h[0] + icmp[0]);
  // Options are not given back: an IP header of the plain size stands right in front of the message.
  const __u32 payload = d->end - d->transport, size = ipv4 ? 20 : 40, at = d->transport - size;
  answer_header(d, &ip, ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, payload, 0, d->address[PS_DESTINATION]);
  const int options = (int)at - (int)d->network;
  if (answer_cut(ctx, d->end) || answer_store(ctx, d->transport, icmp, sizeof icmp) || answer_store_header(ctx, at, &ip))
    return -1;
  if (options && bpf_xdp_adjust_head(ctx, options))
    return -1;
  return answer_store_link(ctx, p, &link);
}

// The service of the connection that an ICMP error to a frontend is about.
static __always_inline __u32 service_quoted(const struct ps_packet *p)
{
  const struct ps_datagram *q = &p->quoted;
  if (!(p->outer.flags & PS_QUOTES) || !(q->flags & PS_PORTS))
    return SERVICE_NONE;
  if (q->address[PS_SOURCE].lo != p->outer.address[PS_DESTINATION].lo || q->address[PS_SOURCE].hi != p->outer.address[PS_DESTINATION].hi)
    return SERVICE_NONE;
  return service_of(&q->address[PS_SOURCE], q->protocol, q->port[PS_SOURCE]);
}

// What has no service's ports but comes to a frontend's address: pings, ICMP errors, fragments.  `any`: a service of
// that address, for the exits of packets that belong to none.
__noinline int service_steer(struct xdp_md *ctx, __u32 any)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_service *s = service_here(any);
  if (!service_const.on || !p)
    return PS_PASS;
  const struct ps_datagram *d = &p->outer;
  if (d->flags & PS_FIRST_FRAGMENT) {
    service_fragment_remember(0);
    return PS_PASS;
  }
  if (d->flags & PS_LATER_FRAGMENT) {
    const __u32 backend = service_fragment_first();
    if (!backend)
      return PS_PASS;
    const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
    if (!b || !b->service)
      return s ? service_exit(p, s, PS_EXIT_FRAGMENT, PS_DROP) : PS_PASS;
    __u32 service = b->service - 1;
    const struct ps_service *of = bpf_map_lookup_elem(&services, &service);
    return of ? service_send(ctx, of, service, backend) : PS_DROP;
  }
  if (d->flags & PS_QUOTES) {
    const __u32 service = service_quoted(p);
    const struct ps_service *of = service == SERVICE_NONE ? 0 : service_here(service);
    if (!of)
      return s ? service_exit(p, s, PS_EXIT_ERROR_LOST, PS_PASS) : PS_PASS;
    service_flow_of(&p->quoted, PS_DESTINATION);
    const __u32 backend = service_backend(of, service, 0, 1);
    if (!backend && of->flags & PS_SERVICE_SOURCE_NAT)
      return s ? service_exit(p, s, PS_EXIT_ERROR_LOST, PS_PASS) : PS_PASS;
    if (!backend)
      return service_exit(p, of, PS_EXIT_NO_BACKEND, PS_DROP);
    return service_send(ctx, of, service, backend);
  }
  if (!s || d->icmp_type != (d->flags & PS_IPV4 ? ICMP_ECHO : ICMPV6_ECHO))
    return PS_PASS;
  const __u32 length = p->length;
  if (service_echo(ctx))
    return PS_PASS;
  count(s->slot[PS_EXIT_ECHO], length);
  return PS_TX;
}

// The verdict on a packet that the policies let pass.
static __always_inline int service_stage(struct xdp_md *ctx, const struct ps_packet *p)
{
  const struct ps_datagram *d = &p->outer;
  if (d->flags & PS_PORTS) {
    // A port that a translated source has is a reply's, if the packet is one; whatever frontend has all ports of the node.
    if (nat_const.port_lines && d->port[PS_DESTINATION] - nat_const.port_first < nat_const.port_lines * 4) {
      const int verdict = nat_reply(ctx);
      if (verdict != NAT_OTHER)
        return verdict;
    }
    const __u32 service = service_of(&d->address[PS_DESTINATION], d->protocol, d->port[PS_DESTINATION]);
    if (service != SERVICE_NONE)
      return service_balance(ctx, service);
    if (!(d->flags & PS_FIRST_FRAGMENT) && !nat_const.on)
      return PS_PASS;
  } else if (!(d->flags & (PS_ICMP | PS_FIRST_FRAGMENT | PS_LATER_FRAGMENT))) {
    return PS_PASS;
  }
  if (nat_const.on) {
    const int verdict = nat_reply(ctx);
    if (verdict != NAT_OTHER)
      return verdict;
  }
  if (d->flags & PS_PORTS && !(d->flags & PS_FIRST_FRAGMENT))
    return PS_PASS;
  const struct ps_frontend *f = frontend_find(&d->address[PS_DESTINATION], 0, 0);
  return f ? service_steer(ctx, f->any) : PS_PASS;
}
