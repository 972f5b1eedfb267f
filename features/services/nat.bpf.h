// Address translation: what a packet becomes, where a connection's port is, and the way of what is translated.
#pragma once
#include "features/services/nat_rewrite.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_reverse);
} service_reverses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_nat);
} service_nats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_flow_line);
} service_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_connection);
} service_clients SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_client_hop);
} service_client_hops SEC(".maps");

#define NAT_MATCH 0xffffu              // how readily an entry that is the connection's own makes room
#define NAT_FOUND (1u << 31)
#define NAT_NOWHERE 0xffffffffu
#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMPV6_TIME_EXCEEDED 3

// Of the line's entries the connection's own, or the one that makes room most readily: how readily, in steps of 4, and which.
__noinline __u32 nat_line(__u32 line)
{
  const struct nat_packet *n = nat_packet();
  const struct ps_flow_line *l = bpf_map_lookup_elem(&service_ports, &line);
  if (!nat_const.port_lines || !n || !l)
    return 0;
  const __u32 now = flow_now();
  __u32 best = 0;
#pragma unroll
  for (__u32 i = 0; i < 4; i++) {
    const struct ps_flow *f = &l->flow[i];
    if (flow_is(f, n->print))
      return NAT_MATCH << 16 | i;
    // A client that has said all may still be listening.
    const __u32 held = flow_phase(f->word) == PS_FLOW_CLOSING && f->print && !flow_idle(f->word, now);
    const __u32 yields = held ? 0 : flow_yields(f, now) >> 2 << 2 | i;
    if (yields > best)
      best = yields;
  }
  return best;
}

// Where the connection at hand lies (with NAT_FOUND), or where it may; NAT_NOWHERE: all places are taken.
__noinline __u32 nat_place(void)
{
  __u32 at = 0, best = 3, place = NAT_NOWHERE, turn __attribute__((unused)) = 0;
  struct nat_packet *n = nat_packet();
  const struct service_flow *flow = service_flow();
  const struct ps_flow_head *head = bpf_map_lookup_elem(&service_flows, &at);
  if (!nat_const.port_lines || !n || !flow || !head)
    return NAT_NOWHERE;
  n->print = flow_print(flow, head);
  const __u32 plane = (flow->protocol == IPPROTO_UDP) | (packet_v4_mapped(&flow->destination) ? 0 : 2);
  const __u32 step = n->print >> 44 | 1;
  at = n->print >> 20;
  for (__u32 i = 0; i < PS_PORT_TRIES; i++) {
    LOOP_TURN(turn, PS_PORT_TRIES, out);
    const __u32 line = plane * nat_const.port_lines + at % nat_const.port_lines;
    const __u32 found = nat_line(line);
    if (found >> 16 == NAT_MATCH)
      return NAT_FOUND | line * 4 + (found & 3);
    if (found > (best | 3)) {
      best = found;
      place = line * 4 + (found & 3);
    }
    at += step;
  }
out:
  return place;
}

static __always_inline struct ps_flow *nat_entry(__u32 place)
{
  __u32 line = place >> 2;
  struct ps_flow_line *l = bpf_map_lookup_elem(&service_ports, &line);
  return l ? &l->flow[place & 3] : 0;
}

static __always_inline __u32 nat_port(__u32 place)
{
  return nat_const.port_first + place % (nat_const.port_lines * 4);
}

// Takes the place for the connection at hand.  Returns 0 where another CPU took it.
static __always_inline int nat_take(__u32 place, __u64 print, __u32 backend, __u32 tcp_flags)
{
  struct ps_flow *f = nat_entry(place);
  struct ps_connection *c = bpf_map_lookup_elem(&service_clients, &place);
  const struct service_flow *flow = service_flow();
  if (!f || !c || !flow)
    return 0;
  if (!writes())
    return 1;
#ifdef PS_LEVEL_basic
  f->print = print;
#else
  const __u64 before = *(volatile __u64 *)&f->print;
  if (__sync_val_compare_and_swap(&f->print, before, print) != before)
    return 0;
#endif
  c->source = flow->source;
  c->destination = flow->destination;
  c->ports = flow->ports;
  c->protocol = flow->protocol;
  const __u32 phase = flow->protocol != IPPROTO_TCP ? PS_FLOW_NEW_UDP : tcp_flags & TCP_RST ? PS_FLOW_RESET : PS_FLOW_NEW;
  *(volatile __u64 *)&f->word = flow_word(print, flow_now(), phase, backend);
  return 1;
}

// As flow_backend, of a connection whose source is translated too; its place is left in nat_packet.
__noinline __u32 nat_backend(__u32 service, __u32 tcp_flags, __u32 observes)
{
  struct nat_packet *n = nat_packet();
  if (!nat_const.port_lines || !n)
    return 0;
  const __u32 found = nat_place();
  n->place = found & ~NAT_FOUND;
  if (found != NAT_NOWHERE && found & NAT_FOUND) {
    struct ps_flow *f = nat_entry(n->place);
    return f ? flow_follow(f, n->print, service, tcp_flags, observes) : 0;
  }
  if (observes)
    return 0;
  const __u32 id = service_schedule(service);
  trace_event(PS_TRACE_SERVICE_RING, service, id, 0);
  if (!id)
    return 0;
  const int placed = found != NAT_NOWHERE && nat_take(n->place, n->print, id, tcp_flags);
  flow_counted(placed ? 0 : 2);
  return placed ? id : id | FLOW_REFUSED;
}

// Asks for the way to the client that the packet at hand is translated for.
__noinline int nat_hop_renew(struct xdp_md *ctx, __u32 at)
{
  const struct nat_packet *n = nat_packet();
  struct ps_client_hop *c = bpf_map_lookup_elem(&service_client_hops, &at);
  if (!nat_const.on || !n || !c)
    return 0;
  const struct ps_address *to = &n->address[PS_DESTINATION];
  if (c->address.lo != to->lo || c->address.hi != to->hi)
    c->hop.how = PS_HOP_NONE;
  c->address = *to;
  if (core_const.replay)
    hop_replay(ctx, to, &c->hop);
  else
    hop_ask(ctx, to, &c->hop, clock_now());
  trace_event(PS_TRACE_SERVICE_CLIENT_HOP, c->hop.how, c->hop.ifindex, 0);
  return 0;
}

static __always_inline const struct ps_hop *nat_hop(struct xdp_md *ctx, __u32 backend, __u32 reply)
{
  if (!reply) {
    const struct ps_hop *hop = bpf_map_lookup_elem(&service_hops, &backend);
    if (hop && (core_const.replay || hop->until <= clock_now()))
      service_hop_renew(ctx, backend);
    return hop;
  }
  const struct nat_packet *n = nat_packet();
  if (!n)
    return 0;
  const struct ps_address *to = &n->address[PS_DESTINATION];
  __u32 at = service_mix(to->lo ^ to->hi * 0x9e3779b97f4a7c15ull) & (PS_CLIENT_HOPS - 1);
  const struct ps_client_hop *c = bpf_map_lookup_elem(&service_client_hops, &at);
  if (c && (core_const.replay || c->hop.until <= clock_now() || c->address.lo != to->lo || c->address.hi != to->hi))
    nat_hop_renew(ctx, at);
  return c ? &c->hop : 0;
}

// May routers cut the packet?  Then one that is too big for its way is no error.
static __always_inline int nat_may_fragment(struct xdp_md *ctx, const struct ps_datagram *d)
{
  const __u8 *h = packet_header(ctx, d->network + 6, 1);
  return d->flags & PS_IPV4 && h && !(*h & 0x40);
}

static __always_inline int nat_expired(struct xdp_md *ctx, const struct ps_packet *p, const struct ps_nat *n)
{
  const __u32 length = p->length;
  if (answer_never(ctx, &p->outer) || !answer_may() ||
      answer_error(ctx, (p->outer.flags & PS_IPV4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED) << 8, 0)) {
    count(n->slot[PS_EXIT_EXPIRED_SILENT], length);
    return PS_DROP;
  }
  count(n->slot[PS_EXIT_EXPIRED], length);
  return PS_TX;
}

// Sends the packet on as nat_packet says it is to be.  `reply`: from the backend to its client, else the other way.  Returns
// its verdict, counted.
__noinline int nat_send(struct xdp_md *ctx, __u32 backend, __u32 reply)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
  const struct ps_nat *n = bpf_map_lookup_elem(&service_nats, &backend);
  if (!nat_const.on || !p || !b || !n)
    return PS_DROP;
  __u32 service = b->service - 1;
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  const __u32 *slot = reply ? n->slot : b->slot, length = p->length;
  if (!s)
    return PS_DROP;
  if (p->outer.hop_limit <= 1)
    return nat_expired(ctx, p, n);
  const struct ps_hop *hop = nat_hop(ctx, backend, reply);
  if (!hop || hop->how == PS_HOP_NO_ROUTE || hop->how == PS_HOP_NONE) {
    count(slot[PS_EXIT_NO_ROUTE], length);
    return PS_DROP;
  }
  int up = hop->how == PS_HOP_STACK;
  __u32 room = hop->how == PS_HOP_REDIRECT ? hop->mtu : 0;
  if (nat_may_fragment(ctx, &p->outer)) {
    up |= room && p->outer.end - p->outer.network > room;  // the host cuts it
  } else {
    if (!reply && b->mtu && (!room || b->mtu < room))
      room = b->mtu;
    if (room && p->outer.end - p->outer.network > room)
      return forward_too_big(ctx, p, s, room);
  }
  struct forward_link link;
  const __be16 type = p->outer.flags & PS_IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
  if ((!up && forward_link(ctx, p, hop, type, &link)) || nat_rewrite(ctx, !up)) {
    count(slot[PS_EXIT_ABORTED], length);
    return PS_DROP;
  }
  if (up) {
    count(slot[PS_EXIT_STACK], length);
    return PS_PASS;
  }
  if (forward_make_room(ctx, p, link.size) || !forward_write_link(ctx, &link)) {
    count(slot[PS_EXIT_ABORTED], length);
    return PS_DROP;
  }
  if (hop->how == PS_HOP_REDIRECT && hop->ifindex == ctx->ingress_ifindex) {
    count(slot[PS_EXIT_RETURNED], length);
    return PS_TX;
  }
  count(slot[PS_EXIT_FORWARDED], length);
  return hop->how == PS_HOP_REPLAY ? PS_REDIRECT : bpf_redirect(hop->ifindex, 0);
}

static __always_inline struct ps_flow *nat_flow(void)
{
  const struct service_flow *flow = service_flow();
  __u64 print;
  struct ps_flow_line *line = flow ? flow_line(flow, &print) : 0;
  if (!line)
    return 0;
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (flow_is(&line->flow[i], print))
      return &line->flow[i];
  return 0;
}

// Leads `at` of `service_reverses` to another connection that looks to `backend` as the one at hand?  Leaves service_flow as
// it was.
__noinline int nat_clash(__u32 at, __u32 backend)
{
  const struct ps_reverse *r = bpf_map_lookup_elem(&service_reverses, &at);
  struct service_flow *flow = service_flow();
  if (!nat_const.on || !r || !flow || r->backend != backend)
    return 0;
  const struct ps_address own = flow->destination;
  const __u32 ports = flow->ports, port = r->port ? r->port : ports & 0xffff;
  if (own.lo == r->frontend.lo && own.hi == r->frontend.hi && port == (ports & 0xffff))
    return 0;
  flow->destination = r->frontend;
  flow->ports = (ports & 0xffff0000) | port;
  const struct ps_flow *f = nat_flow();
  flow->destination = own;
  flow->ports = ports;
  return f && f->word >> PS_FLOW_BACKEND == backend && !flow_idle(f->word, flow_now());
}

// A new connection whose replies could not be told from another's (one client port, two frontends, one port of a backend): it
// is forgotten.  Returns 1 then.
__noinline int nat_clashes(__u32 backend, __u32 first)
{
  __u32 turn __attribute__((unused)) = 0;
  for (__u32 i = 0; i < PS_REVERSES_MAX; i++) {
    LOOP_TURN(turn, PS_REVERSES_MAX, out);
    __u32 at = first + i;
    const struct ps_reverse *r = bpf_map_lookup_elem(&service_reverses, &at);
    if (!nat_const.on || !r)
      return 0;
    const __u32 last = r->last;
    if (nat_clash(at, backend)) {
      struct ps_flow *own = nat_flow();
      if (own && writes())
        own->print = 0;
      return 1;
    }
    if (last)
      return 0;
  }
out:
  return 0;
}

// A packet of a client, or an ICMP error about one to it, goes to `backend`.
__noinline int nat_forward(struct xdp_md *ctx, __u32 backend)
{
  __u32 refused = backend & FLOW_REFUSED;
  backend &= ~FLOW_REFUSED;
  const struct ps_packet *p = packet_scratch();
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
  const struct ps_nat *n = bpf_map_lookup_elem(&service_nats, &backend);
  struct nat_packet *t = nat_packet();
  if (!nat_const.on || !p || !b || !n || !t)
    return PS_DROP;
  __u32 service = b->service - 1;
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  if (!s)
    return PS_DROP;
  const __u32 length = p->length;
  if (b->flags & PS_BACKEND_LOCAL) {
    count(b->slot[PS_EXIT_STACK], length);
    return PS_PASS;
  }
  const struct service_flow *flow = service_flow();
  if (flow && flow->fresh && !(s->flags & PS_SERVICE_SOURCE_NAT)) {
    const __u32 first = service_of(&b->address, flow->protocol | PS_REVERSE, n->port ? n->port : flow->ports & 0xffff);
    refused |= first != SERVICE_NONE && nat_clashes(backend, first);
  }
  if (refused) {
    count(n->slot[PS_EXIT_NO_PLACE], length);
    return PS_DROP;
  }
  const int source = nat_const.port_lines && s->flags & PS_SERVICE_SOURCE_NAT;
  const int quotes = p->outer.flags & PS_QUOTES;
  const struct ps_datagram *d = quotes ? &p->quoted : &p->outer;
  const struct ps_address *client = quotes ? &d->address[PS_DESTINATION] : &d->address[PS_SOURCE];
  t->address[PS_SOURCE] = source ? b->source : *client;
  t->address[PS_DESTINATION] = b->address;
  t->port[PS_SOURCE] = source ? nat_port(t->place) : quotes ? d->port[PS_DESTINATION] : d->port[PS_SOURCE];
  t->port[PS_DESTINATION] = n->port ? n->port : quotes ? d->port[PS_SOURCE] : d->port[PS_DESTINATION];
  t->keeps_source = quotes && !source;
  trace_event(PS_TRACE_SERVICE_NAT, backend, t->port[PS_DESTINATION], source ? t->port[PS_SOURCE] : 0);
  return nat_send(ctx, backend, 0);
}

// Is the packet at hand one that the connection in this place gets from `r`?  Then the connection is left as service_flow.
static __always_inline struct ps_flow *nat_owner(const struct ps_reverse *r, const struct ps_backend *b, __u32 own, __u32 port)
{
  struct service_flow *flow = service_flow();
  __u32 at = 0;
  const struct ps_flow_head *head = bpf_map_lookup_elem(&service_flows, &at);
  if (!flow || !head || own - nat_const.port_first >= nat_const.port_lines * 4 || flow->source.lo != b->source.lo || flow->source.hi != b->source.hi)
    return 0;
  const __u32 plane = (flow->protocol == IPPROTO_UDP) | (packet_v4_mapped(&b->address) ? 0 : 2);
  __u32 place = plane * nat_const.port_lines * 4 + own - nat_const.port_first;
  struct ps_flow *f = nat_entry(place);
  const struct ps_connection *c = bpf_map_lookup_elem(&service_clients, &place);
  if (!f || !c || c->protocol != flow->protocol || (c->ports & 0xffff) != port || c->destination.lo != r->frontend.lo || c->destination.hi != r->frontend.hi)
    return 0;
  flow->source = c->source;
  flow->destination = c->destination;
  flow->ports = c->ports;
  return flow_is(f, flow_print(flow, head)) ? f : 0;
}

// Is the packet, or what it quotes, of a connection that goes by `at` of `service_reverses`?  Then nat_packet says what it
// becomes.  Returns the backend's id, or 0.
__noinline __u32 nat_reverse(__u32 at)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_reverse *r = bpf_map_lookup_elem(&service_reverses, &at);
  struct nat_packet *t = nat_packet();
  struct service_flow *flow = service_flow();
  if (!nat_const.on || !p || !r || !t || !flow)
    return 0;
  __u32 backend = r->backend, service = r->service;
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &backend);
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  if (!b || !s)
    return 0;
  const __u32 quotes = p->outer.flags & PS_QUOTES;
  if (quotes)
    service_flow_of(&p->quoted, PS_SOURCE);
  else
    service_flow_of(&p->outer, PS_DESTINATION);
  const __u32 client = flow->ports >> 16, port = r->port ? r->port : flow->ports & 0xffff;
  flow->destination = r->frontend;
  flow->ports = client << 16 | port;
  struct ps_flow *f = nat_const.port_lines && s->flags & PS_SERVICE_SOURCE_NAT ? nat_owner(r, b, client, port) : nat_flow();
  if (!f)
    return 0;
  const __u64 word = *(volatile __u64 *)&f->word;
  const __u32 now = flow_now();
  if (word >> PS_FLOW_BACKEND != backend || flow_idle(word, now))
    return 0;
  const __u64 next = flow_word(word, now, flow_next_phase(flow_phase(word), flow->protocol, p->outer.tcp_flags), backend);
  if (next != word && !quotes && writes())
    *(volatile __u64 *)&f->word = next;
  t->address[PS_SOURCE] = r->frontend;
  t->address[PS_DESTINATION] = flow->source;
  t->port[PS_SOURCE] = flow->ports;
  t->port[PS_DESTINATION] = flow->ports >> 16;
  t->keeps_source = 0;
  trace_event(PS_TRACE_SERVICE_REPLY, service, backend, t->port[PS_DESTINATION]);
  return backend;
}

// The same with all that have this one's address and port; `first` of them.
__noinline __u32 nat_reverses(__u32 first)
{
  __u32 turn __attribute__((unused)) = 0;
  for (__u32 i = 0; i < PS_REVERSES_MAX; i++) {
    LOOP_TURN(turn, PS_REVERSES_MAX, out);
    __u32 at = first + i;
    const struct ps_reverse *r = bpf_map_lookup_elem(&service_reverses, &at);
    if (!nat_const.on || !r)
      return 0;
    const __u32 last = r->last, backend = nat_reverse(at);
    if (backend || last)
      return backend;
  }
out:
  return 0;
}

// Of a first fragment of a reply: what becomes of the later ones.
__noinline int nat_fragment_remember(void)
{
  const struct ps_packet *p = packet_scratch();
  const struct nat_packet *t = nat_packet();
  struct ps_service_fragment_key key;
  if (!nat_const.on || !p || !t || !writes())
    return 0;
  struct ps_service_fragment first = {.until = clock_now() + PS_SERVICE_FRAGMENT_LIFE};
  first.pad = t->backend;
  first.address[PS_SOURCE] = t->address[PS_SOURCE];
  first.address[PS_DESTINATION] = t->address[PS_DESTINATION];
  service_fragment_key(&p->outer, &key);
  return bpf_map_update_elem(&service_fragments, &key, &first, BPF_ANY);
}

// Of a later one: the backend that it is a reply of, and nat_packet says what it becomes; 0: none.
__noinline __u32 nat_fragment(void)
{
  const struct ps_packet *p = packet_scratch();
  struct nat_packet *t = nat_packet();
  struct ps_service_fragment_key key;
  if (!nat_const.on || !p || !t)
    return 0;
  service_fragment_key(&p->outer, &key);
  const struct ps_service_fragment *first = bpf_map_lookup_elem(&service_fragments, &key);
  if (!first || clock_now() >= first->until || first->backend)
    return 0;
  t->address[PS_SOURCE] = first->address[PS_SOURCE];
  t->address[PS_DESTINATION] = first->address[PS_DESTINATION];
  t->keeps_source = 0;
  return first->pad;
}

// A packet from a backend, or an ICMP error about one to it: its verdict, or NAT_OTHER where no connection has it.
#define NAT_OTHER (-1)
__noinline int nat_reply(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  struct nat_packet *t = nat_packet();
  if (!nat_const.on || !p || !t)
    return NAT_OTHER;
  const struct ps_datagram *d = &p->outer;
  __u32 backend = 0, first = SERVICE_NONE;
  if (d->flags & PS_LATER_FRAGMENT)
    backend = nat_fragment();
  else if (d->flags & PS_PORTS)
    first = service_of(&d->address[PS_SOURCE], d->protocol | PS_REVERSE, d->port[PS_SOURCE]);
  else if (d->flags & PS_QUOTES && p->quoted.flags & PS_PORTS)
    first = service_of(&p->quoted.address[PS_DESTINATION], p->quoted.protocol | PS_REVERSE, p->quoted.port[PS_DESTINATION]);
  if (first != SERVICE_NONE)
    backend = nat_reverses(first);
  if (!backend)
    return NAT_OTHER;
  t->backend = backend;
  if (d->flags & PS_FIRST_FRAGMENT)
    nat_fragment_remember();
  return nat_send(ctx, backend, 1);
}
