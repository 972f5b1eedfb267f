// Looks a packet up in a classifier: the first entry that matches it.  The tables are told in classifier_tables.h.
//
// Memory is the cost: the fields' lookups do not depend on each other, so the processor overlaps them; comparisons in
// a node and in an entry are arithmetic, since their branches could not be foreseen.
#pragma once
#ifndef __cplusplus  // tests compile this for their own machine, with maps of their own
#include "bpf/state.bpf.h"
#include "features/policy/extra.bpf.h"
// May a search begin behind an earlier match?
#define CLASS_GOES_ON (policy_const.then & PS_THEN_PERHAPS_ON || core_const.trace >= PS_TRACE_EVENTS)
#else
#define CLASS_GOES_ON 1
#endif
#include "bpf/loop.bpf.h"
#include "features/policy/classifier_tables.h"

#ifdef __clang__
#define CLASS_ROLLED _Pragma("clang loop unroll(disable)")
#define CLASS_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define CLASS_ROLLED
#define CLASS_UNROLLED
#endif

#define CLASS_NONE 0xffffffffu  // no entry matches
#define CLASS_MORE 0xfffffffeu  // not finished: the walk is in `class_walks`
// Steps of a walk (a tuple chosen or an entry tested) in one loop, which the verifier walks turn by turn; nearly every
// packet needs less.  64 * 64 * 64 steps are enough for any table: each entry and each tuple once.
#define CLASS_STEPS 64

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_classifier);
} classifiers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_line);
} classifier_lines SEC(".maps");

// How far the walk over candidates is.
struct class_walk {
  __u64 candidates[4];
  __u32 tuple;   // line of the tuple at bit 0 of candidates[0]
  __u32 at;      // line of the entry to test next; 0: choose a tuple
  __u32 best;    // position of the best entry so far
  __u32 found;   // its line in the map
  __u32 least;   // position of the first entry that counts
  __u32 pad;
};

// A walk that is longer than CLASS_STEPS.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct class_walk);
} class_walks SEC(".maps");

static __always_inline const struct ps_line *class_line(__u32 line)
{
  return (const struct ps_line *)bpf_map_lookup_elem(&classifier_lines, &line);
}

// How many of a node's keys are not greater than `window` (15 bits): each lane's spare bit is set first and survives
// the subtraction where the key is not greater.
static __always_inline __u32 class_interval(const struct ps_line *node, __u64 window)
{
  const __u64 spare = 0x8000800080008000ull, ones = 0x0001000100010001ull;
  const __u64 lanes = window * ones | spare;
  __u64 sum = (lanes - (node->word[0] & 0xffffffff00000000ull)) >> 15 & 0x0001000100000000ull;
  sum += (lanes - node->word[1]) >> 15 & ones;
  sum += (lanes - node->word[2]) >> 15 & ones;
  sum += (lanes - node->word[3]) >> 15 & ones;
  return sum * ones >> 48;
}

// The half line, relative to `base`, that holds the vector of the value (hi, lo).
static __always_inline __u32 class_vector(__u32 base, const struct ps_class_field *field, __u64 hi, __u64 lo)
{
  const __u32 index = (field->low ? lo : hi) >> field->shift & field->mask;
  const struct ps_line *line = class_line(base + field->root + (index >> 4));
  if (!line)
    return 0;
  __u32 value = ((const __u32 *)line)[index & 15];
  __u32 turn __attribute__((unused)) = 0;
  CLASS_ROLLED
  while (value & PS_ROOT_NODE) {
    LOOP_TURN(turn, PS_NODE_DEPTH, out);
    const struct ps_line *node = class_line(base + (value & ~PS_ROOT_NODE));
    if (!node)
      return 0;
    const __u32 head = node->word[0];
    const __u64 window = (head & 64 ? lo : hi) >> (head & 63) & PS_NODE_KEY_MAX;
    const __u32 next = ((const __u16 *)node)[16 + (class_interval(node, window) & 15)];
    const __u32 page = ((const __u16 *)node)[31];
    value = next & PS_NODE_CHILD ? PS_ROOT_NODE | ((head >> 7) + (next & ~PS_NODE_CHILD)) : page * PS_CLASS_PAGE + next;
  }
out:
  return field->vectors + value;
}

// Takes from `walk->candidates` what the value (hi, lo) of a field rules out.
static __always_inline void class_restrict(const struct ps_classifier *c, __u32 number, __u64 hi, __u64 lo,
                                           struct class_walk *walk)
{
  const struct ps_class_field *field = &c->field[number];
  if (!field->used)
    return;
  const __u32 half = class_vector(c->base, field, hi, lo);
  const struct ps_line *line = class_line(c->base + (half >> 1));
  if (!line)
    return;
  const __u64 *vector = &line->word[(half & 1) * 4];
  CLASS_UNROLLED
  for (int i = 0; i < 4; i++)
    walk->candidates[i] &= vector[i];
}

// Number of the lowest bit set; `bits` is not 0.
static __always_inline __u32 class_lowest(__u64 bits)
{
  __u64 x = (bits & -bits) - 1;
  x -= x >> 1 & 0x5555555555555555ull;
  x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
  return x * 0x0101010101010101ull >> 56;
}

static __always_inline __u64 class_rest(const struct ps_datagram *d)
{
  return (__u64)d->port[PS_SOURCE] << 24 | (__u64)d->port[PS_DESTINATION] << 8 | d->protocol;
}

// The line, relative to the base, where the chain of the packet in this tuple begins.
static __always_inline __u32 class_home(const struct ps_classifier *c, const struct ps_class_tuple *t,
                                        const struct ps_datagram *d)
{
  const struct ps_address *s = &d->address[PS_SOURCE], *e = &d->address[PS_DESTINATION];
  const __u64 hash = t->seed + (s->hi & t->mask[0]) * PS_HASH_0 + (s->lo & t->mask[1]) * PS_HASH_1 +
                     (e->hi & t->mask[2]) * PS_HASH_2 + (e->lo & t->mask[3]) * PS_HASH_3 +
                     (class_rest(d) & t->rest) * PS_HASH_4;
  return c->home + ((hash >> 32) * c->homes >> 32);
}

// What is left of `difference` without its `ignore` low bits; in two steps, since a shift by 64 is none.
static __always_inline __u64 class_above(__u64 difference, __u32 ignore)
{
  return difference >> (ignore >> 1) >> (ignore - (ignore >> 1));
}

// Not 0 if the port lies outside of the range.
static __always_inline __u64 class_outside(__u64 port, __u64 first, __u64 last)
{
  return ((port - first) | (last - port)) >> 63;
}

// Does the packet satisfy the entry, but for the residual test?
static __always_inline int class_matches(const struct ps_class_entry *e, const struct ps_datagram *d)
{
  const struct ps_address *s = &d->address[PS_SOURCE], *t = &d->address[PS_DESTINATION];
  __u64 differs = class_above(t->lo ^ e->address[3], e->ignore[3]) | class_above(s->lo ^ e->address[1], e->ignore[1]);
  differs |= class_outside(d->port[PS_DESTINATION], e->port_first[PS_DESTINATION], e->port_last[PS_DESTINATION]);
  differs |= class_outside(d->port[PS_SOURCE], e->port_first[PS_SOURCE], e->port_last[PS_SOURCE]);
  differs |= (e->proto ^ d->protocol) & -(__u32)(e->flags & PS_CLASS_PROTO);
  differs |= e->needs & ~d->flags;
  differs |= class_above(s->hi ^ e->address[0], e->ignore[0]) | class_above(t->hi ^ e->address[2], e->ignore[2]);
  return !differs;
}

// From the stage: POLICY_MATCHED | the index of the first entry of `policy_rules` in [at, end) that matches, else less.
#define POLICY_MATCHED (1ull << 32)
__u64 policy_walk(struct xdp_md *ctx, __u32 at, __u32 end);

// Goes on with a walk.  Returns 1 when it is finished, 0 when the steps are used up.
static __always_inline int class_steps(struct xdp_md *ctx, const struct ps_classifier *c, const struct ps_packet *p,
                                       struct class_walk *walk)
{
  const struct ps_datagram *d = &p->outer;
  __u32 turn __attribute__((unused)) = 0;
  CLASS_ROLLED
  for (;;) {
    LOOP_TURN(turn, CLASS_STEPS, out);
    if (!walk->at) {
      if (!walk->candidates[0]) {
        if (!(walk->candidates[1] | walk->candidates[2] | walk->candidates[3]))
          return 1;
        walk->candidates[0] = walk->candidates[1];
        walk->candidates[1] = walk->candidates[2];
        walk->candidates[2] = walk->candidates[3];
        walk->candidates[3] = c->zero;
        walk->tuple += 64;
        continue;
      }
      const __u32 tuple = walk->tuple + class_lowest(walk->candidates[0]);
      walk->candidates[0] &= walk->candidates[0] - 1;
      const struct ps_class_tuple *t = (const struct ps_class_tuple *)class_line(c->base + tuple);
      if (!t || t->first >= walk->best)
        return 1;
      walk->at = class_home(c, t, d);
    }
    const struct ps_class_entry *e = (const struct ps_class_entry *)class_line(c->base + walk->at);
    if (!e || e->position >= walk->best) {
      walk->at = c->zero;
      continue;
    }
    const __u32 residual = e->residual;
    if (!class_matches(e, d) || (CLASS_GOES_ON && e->position < walk->least) ||
        (e->flags & PS_CLASS_RESIDUAL &&
         policy_walk(ctx, c->first_residual + (residual >> 8), c->first_residual + (residual >> 8) + (residual & 255)) <
             POLICY_MATCHED)) {
      walk->at = e->next;
      continue;
    }
    walk->best = e->position;
    walk->found = c->base + walk->at;
    walk->at = c->zero;
  }
out:
  return 0;
}

// The first entry of classifier `index` from position `least` on that matches the packet: its line in
// `classifier_lines`, CLASS_NONE or CLASS_MORE.
__noinline __u32 class_first(struct xdp_md *ctx, __u32 index, __u32 least)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_classifier *c = (const struct ps_classifier *)bpf_map_lookup_elem(&classifiers, &index);
  if (!p || !c)
    return CLASS_NONE;
  const struct ps_datagram *d = &p->outer;
  struct class_walk walk = {.candidates = {}, .tuple = c->tuple, .at = (__u32)c->zero, .best = PS_NO_POSITION, .found = CLASS_NONE,
                            .least = least, .pad = 0};
  CLASS_UNROLLED
  for (int i = 0; i < 4; i++)
    walk.candidates[i] = c->all[i];
  if (c->tuples > 1) {
    const __u32 ipv6 = !!(d->flags & PS_IPV6);
    class_restrict(c, PS_CLASS_DESTINATION_V4 + ipv6, d->address[PS_DESTINATION].hi, d->address[PS_DESTINATION].lo, &walk);
    class_restrict(c, PS_CLASS_SOURCE_V4 + ipv6, d->address[PS_SOURCE].hi, d->address[PS_SOURCE].lo, &walk);
    class_restrict(c, PS_CLASS_DESTINATION_PORT, 0, d->port[PS_DESTINATION], &walk);
    class_restrict(c, PS_CLASS_SOURCE_PORT, 0, d->port[PS_SOURCE], &walk);
    class_restrict(c, PS_CLASS_SERVICE, 0, d->protocol | (d->flags & PS_PORTS ? PS_SERVICE_PORTS : 0), &walk);
  }
  if (class_steps(ctx, c, p, &walk))
    return walk.found;
  __u32 zero = 0;
  struct class_walk *kept = (struct class_walk *)bpf_map_lookup_elem(&class_walks, &zero);
  if (!kept)
    return CLASS_NONE;
  *kept = walk;
  return CLASS_MORE;
}

__noinline __u32 class_more(struct xdp_md *ctx, __u32 index)
{
  __u32 zero = 0;
  const struct ps_packet *p = packet_scratch();
  const struct ps_classifier *c = (const struct ps_classifier *)bpf_map_lookup_elem(&classifiers, &index);
  struct class_walk *kept = (struct class_walk *)bpf_map_lookup_elem(&class_walks, &zero);
  if (!p || !c || !kept)
    return CLASS_NONE;
  struct class_walk walk = *kept;
  if (class_steps(ctx, c, p, &walk))
    return walk.found;
  *kept = walk;
  return CLASS_MORE;
}

__noinline __u32 class_much_more(struct xdp_md *ctx, __u32 index)
{
  __u32 at = CLASS_MORE;
  CLASS_ROLLED
  for (int i = 0; i < CLASS_STEPS && at == CLASS_MORE; i++)
    at = class_more(ctx, index);
  return at;
}

// The first entry of classifier `index` from position `least` on that matches the packet: its line, CLASS_NONE.
static __always_inline __u32 classifier_line(struct xdp_md *ctx, __u32 index, __u32 least)
{
  __u32 at = class_first(ctx, index, least);
  CLASS_ROLLED
  for (int i = 0; i < CLASS_STEPS && at == CLASS_MORE; i++)
    at = class_much_more(ctx, index);
  return at;
}

// The same as a function of its own.
__noinline __u32 class_find(struct xdp_md *ctx, __u32 index, __u32 least)
{
  return classifier_line(ctx, index, least);
}

static __always_inline const struct ps_class_entry *class_entry(__u32 line)
{
  return (const struct ps_class_entry *)class_line(line);
}
