// Which backend a connection went to, and where a new one goes.
#pragma once
#include "features/services/frontends.bpf.h"
#include "features/services/nat_tables.h"

const volatile struct ps_nat_const nat_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_flow_line);
} service_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_flow_counts);
} service_flow_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_ring_line);
} service_ring SEC(".maps");

// Of each service, where its last connection of this CPU went.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} service_turns SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_backend);
} service_backends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_service_state);
} service_states SEC(".maps");

// A connection as its client sends it: what the packet at hand is of.
struct service_flow {
  struct ps_address source, destination;
  __u32 ports;           // source << 16 | destination
  __u32 protocol;
  __u32 fresh;           // 1: the table has it since this packet
  __u32 pad;
};
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct service_flow);
} service_scratch SEC(".maps");

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

// How often a connection looks for another place in the ring when the backend there is down and the ring not made anew yet.
#define SERVICE_TRIES 8

static __always_inline struct service_flow *service_flow(void)
{
  __u32 zero = 0;
  return bpf_map_lookup_elem(&service_scratch, &zero);
}

// `client`: the side of the datagram that the client is on.
static __always_inline void service_flow_of(const struct ps_datagram *d, enum ps_side client)
{
  struct service_flow *flow = service_flow();
  if (!flow)
    return;
  flow->source = d->address[client];
  flow->destination = d->address[!client];
  flow->ports = (__u32)d->port[client] << 16 | d->port[!client];
  flow->protocol = d->protocol;
  flow->fresh = 0;
}

// Multipliers are odd, and in replay, where the head is empty, these.
#define FLOW_MULTIPLIER_0 0x9e3779b97f4a7c15ull
#define FLOW_MULTIPLIER_1 0xc2b2ae3d27d4eb4full

static __always_inline __u64 flow_step(__u64 h, __u64 word, __u64 multiplier)
{
  h = (h ^ word) * multiplier;
  return h ^ h >> 32;
}

// Never 0.
static __always_inline __u64 flow_print(const struct service_flow *f, const struct ps_flow_head *head)
{
  const __u64 m0 = head->multiplier[0] ^ FLOW_MULTIPLIER_0, m1 = head->multiplier[1] ^ FLOW_MULTIPLIER_1;
  __u64 h = head->seed;
  if (f->source.hi | f->destination.hi) {
    h = flow_step(h, f->source.hi, m0);
    h = flow_step(h, f->destination.hi, m1);
    h = flow_step(h, f->source.lo, m0);
    h = flow_step(h, f->destination.lo, m1);
  } else {
    h = flow_step(h, f->source.lo << 32 | (__u32)f->destination.lo, m0);
  }
  h = flow_step(h, f->ports, m1);
  h = flow_step(h, f->protocol, m0);
  return h ? h : 1;
}

static __always_inline __u32 flow_now(void)
{
  return clock_now() >> PS_FLOW_TICK & 0xffff;
}

static __always_inline __u64 flow_word(__u64 print, __u32 now, __u32 phase, __u32 backend)
{
  return (print & PS_FLOW_CHECK) | (__u64)now << PS_FLOW_TIME | (__u64)phase << PS_FLOW_PHASE | (__u64)backend << PS_FLOW_BACKEND;
}

static __always_inline __u32 flow_phase(__u64 word)
{
  return word >> PS_FLOW_PHASE & (PS_FLOW_PHASES - 1);
}

static __always_inline int flow_idle(__u64 word, __u32 now)
{
  return ((now - (__u32)(word >> PS_FLOW_TIME)) & 0xffff) > service_const.idle[flow_phase(word)];
}

// The phase behind this packet.
static __always_inline __u32 flow_next_phase(__u32 phase, __u32 protocol, __u32 tcp_flags)
{
  if (protocol != IPPROTO_TCP)
    return PS_FLOW_LIVE_UDP;
  if (tcp_flags & TCP_RST)
    return PS_FLOW_RESET;
  if (tcp_flags & TCP_FIN)
    return PS_FLOW_CLOSING;
  return phase == PS_FLOW_NEW && !(tcp_flags & TCP_SYN) ? PS_FLOW_LIVE : phase;
}

// What the two say together: a backend is as bad as any of them says.
static __always_inline __u32 backend_state(const struct ps_backend *b, __u32 id)
{
  const struct ps_service_state *s = bpf_map_lookup_elem(&service_states, &id);
  __u32 state = b->state;
  if (s && s->health > state)
    state = s->health;
  if (s && s->admin > state)
    state = s->admin;
  return state;
}

// The backend with this id, if it is one of the service and its connections may stay.
static __always_inline const struct ps_backend *backend_of(__u32 id, __u32 service)
{
  const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &id);
  return b && b->service == service + 1 && backend_state(b, id) != PS_BACKEND_DOWN ? b : 0;
}

static __always_inline __u32 ring_place(const struct ps_service *s, __u32 service, const struct service_flow *flow)
{
  if (s->flags & PS_SERVICE_ROUND_ROBIN) {
    __u32 *turn = bpf_map_lookup_elem(&service_turns, &service);
    if (!turn)
      return 0;
    const __u32 place = *turn;
    if (writes())
      *turn = place + 1;
    return place;
  }
  if (s->flags & PS_SERVICE_RANDOM)
    return bpf_get_prandom_u32();
  return service_ring_hash(&flow->source, &flow->destination, flow->ports, flow->protocol, s->flags & PS_SERVICE_CLIENT) >> 16;
}

// The id of a backend that takes new connections; 0: none.
__noinline __u32 service_schedule(__u32 service)
{
  const struct service_flow *flow = service_flow();
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  if (!service_const.on || !s || !flow || !s->ring_size)
    return 0;
  __u32 place = ring_place(s, service, flow);
  for (int i = 0; i < SERVICE_TRIES; i++) {
    __u32 at = s->ring + place % s->ring_size, line = at / 16;
    const struct ps_ring_line *ids = bpf_map_lookup_elem(&service_ring, &line);
    if (!ids)
      return 0;
    const __u32 id = ids->id[at % 16];
    const struct ps_backend *b = bpf_map_lookup_elem(&service_backends, &id);
    if (b && b->service == service + 1 && backend_state(b, id) == PS_BACKEND_UP)
      return id;
    place = service_mix(place + 1);
  }
  return 0;
}

static __always_inline void flow_counted(__u32 what)
{
  __u32 zero = 0;
  struct ps_flow_counts *c = bpf_map_lookup_elem(&service_flow_counts, &zero);
  if (!c || !writes())
    return;
  if (what == 0)
    c->inserted++;
  else if (what == 1)
    c->evicted++;
  else
    c->refused++;
}

// How readily an entry makes room: 0 not at all.
static __always_inline __u32 flow_yields(const struct ps_flow *f, __u32 now)
{
  const __u64 word = f->word;
  const __u32 phase = flow_phase(word), age = (now - (__u32)(word >> PS_FLOW_TIME)) & 0xffff;
  if (!f->print)
    return 3 << 16;
  if (age > service_const.idle[phase])
    return 2 << 16;
  return phase == PS_FLOW_LIVE || phase == PS_FLOW_LIVE_UDP ? 0 : (1 << 16) + age;
}

// Remembers a new connection, in the place of the one of its line that has been silent longest among those that are not live.
// Returns 0 where there is none.
static __always_inline int flow_insert(struct ps_flow_line *line, __u64 print, __u32 now, __u32 phase, __u32 backend)
{
  struct ps_flow *place = &line->flow[0];
  __u32 best = flow_yields(place, now);
#pragma unroll
  for (int i = 1; i < 4; i++) {
    const __u32 yields = flow_yields(&line->flow[i], now);
    if (yields > best) {
      best = yields;
      place = &line->flow[i];
    }
  }
  if (!best) {
    flow_counted(2);
    return 0;
  }
  if (best >> 16 == 1)
    flow_counted(1);
  flow_counted(0);
  if (!writes())
    return 1;
  // Whoever reads in between finds a word that is not this print's.
  *(volatile __u64 *)&place->print = print;
  *(volatile __u64 *)&place->word = flow_word(print, now, phase, backend);
  return 1;
}

static __always_inline int flow_is(const struct ps_flow *f, __u64 print)
{
  return f->print == print && !((*(volatile __u64 *)&f->word ^ print) & PS_FLOW_CHECK);
}

// A packet of a connection that the table knows: its backend, or another where it may not stay.
static __always_inline __u32 flow_follow(struct ps_flow *f, __u64 print, __u32 service, __u32 tcp_flags, __u32 observes)
{
  const struct service_flow *flow = service_flow();
  if (!flow)
    return 0;
  const __u64 word = *(volatile __u64 *)&f->word;
  const __u32 now = flow_now();
  const int opens = flow->protocol == IPPROTO_TCP && (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && !observes;
  __u32 id = word >> PS_FLOW_BACKEND, phase = flow_phase(word);
  // A SYN opens a connection anew, but for its own repetition.
  if (!backend_of(id, service) || flow_idle(word, now) || (opens && phase != PS_FLOW_NEW)) {
    id = service_schedule(service);
    phase = flow->protocol == IPPROTO_TCP ? PS_FLOW_NEW : PS_FLOW_NEW_UDP;
  } else {
    trace_event(PS_TRACE_SERVICE_FLOW, service, id, phase);
    phase = flow_next_phase(phase, flow->protocol, tcp_flags);
  }
  const __u64 next = flow_word(print, now, phase, id);
  if (next != word && !observes && writes())
    *(volatile __u64 *)&f->word = next;
  return id;
}

#define FLOW_REFUSED (1u << 31)  // with a backend's id: the connection found no place, which address translation needs

// The line that the connection is in, if it is known, and its print.
static __always_inline struct ps_flow_line *flow_line(const struct service_flow *flow, __u64 *print)
{
  __u32 at = 0;
  const struct ps_flow_head *head = bpf_map_lookup_elem(&service_flows, &at);
  if (!head)
    return 0;
  *print = flow_print(flow, head);
  at = 1 + (*print >> 20 & service_const.flow_mask);
  return bpf_map_lookup_elem(&service_flows, &at);
}

// Where the packet of a connection goes: a backend's id, or 0 for none.  `observes`: an ICMP error about the connection, which
// changes nothing.
__noinline __u32 flow_backend(__u32 service, __u32 tcp_flags, __u32 observes)
{
  __u64 print;
  struct service_flow *flow = service_flow();
  if (!service_const.on || !flow)
    return 0;
  struct ps_flow_line *line = flow_line(flow, &print);
  if (!line)
    return 0;
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (flow_is(&line->flow[i], print))
      return flow_follow(&line->flow[i], print, service, tcp_flags, observes);
  const __u32 id = service_schedule(service);
  trace_event(PS_TRACE_SERVICE_RING, service, id, 0);
  if (!id || observes || (flow->protocol == IPPROTO_TCP && tcp_flags & TCP_RST))
    return id;
  flow->fresh = flow_insert(line, print, flow_now(), flow->protocol == IPPROTO_TCP ? PS_FLOW_NEW : PS_FLOW_NEW_UDP, id);
  if (flow->fresh || !nat_const.on)
    return id;
  const struct ps_service *s = bpf_map_lookup_elem(&services, &service);
  return s && s->flags & PS_SERVICE_NAT ? id | FLOW_REFUSED : id;
}
