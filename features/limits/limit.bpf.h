// Limits: is a packet, of those that a rule asks for, over the rate (or within it)?  The stage of policies asks when all
// else of the rule matches.
#pragma once
#include "bpf/parse.bpf.h"
#include "features/limits/entries.h"

const volatile struct ps_limit_const limit_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_limit);
} limits SEC(".maps");

// The loader leaves it out where no rule has a limit.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_limit_line);
} limit_lines SEC(".maps");

#define LIMIT_NO_SLOT 0xffffffffu  // the rule does not match
#define LIMIT_TRIES 8              // that other CPUs may take the word away from us

static __always_inline struct ps_limit_line *limit_line(__u32 number)
{
  return bpf_map_lookup_elem(&limit_lines, &number);
}

// Does any limit of the hook ask for it?
#define LIMIT_ASKS(flag) (limit_const.flags & (flag) && limit->flags & (flag))

static __always_inline __u64 limit_now(const struct ps_limit *limit)
{
  return PS_TICKS(LIMIT_ASKS(PS_LIMIT_PRECISE) && !core_const.replay ? bpf_ktime_get_ns() : clock_now());
}

static __always_inline struct ps_limit_counts *limit_counts(const struct ps_limit *limit)
{
  const __u32 lane = bpf_get_smp_processor_id();
  return (struct ps_limit_counts *)limit_line(limit->counts + (lane < limit->lanes ? lane : 0));
}

static __always_inline void limit_count(__u64 *counter)
{
  if (writes())
    (*counter)++;
}

// What the packet costs, ticks.
static __always_inline __u64 limit_cost(const struct ps_limit *limit, const struct ps_packet *p)
{
  return LIMIT_ASKS(PS_LIMIT_BYTES) ? (p->length * limit->each + 0x8000) >> 16 : limit->each;
}

// Takes the packet's cost from a bucket.  Returns 1 when it was within the rate: when all of it was left.  A bucket of less
// than two packets would waste what is earned while it is full, so there a packet may owe all but a tick of itself.
static __always_inline int limit_take(const struct ps_limit *limit, __u64 *word, __u64 now, __u64 cost)
{
  const __u64 most = now + (limit->depth >= 2 * cost ? limit->depth - cost : cost - 1);
  __u64 seen = *(volatile __u64 *)word;
#ifdef PS_LEVEL_basic
  // No compare-and-swap: whoever sees room pays, so the rate is kept; each CPU may exceed the burst by one packet.
  if (seen > most)
    return 0;
  if (!writes())
    return 1;
  if (seen < now)
    *(volatile __u64 *)word = now + cost;
  else
    __sync_fetch_and_add(word, cost);
  return 1;
#else
  for (int i = 0; i < LIMIT_TRIES; i++) {
    if (seen > most)
      return 0;
    if (!writes())
      return 1;
    const __u64 found = __sync_val_compare_and_swap(word, seen, (seen > now ? seen : now) + cost);
    if (found == seen)
      return 1;
    seen = found;
  }
  __sync_fetch_and_add(word, cost);  // too busy to ask, never to pay
  return 1;
#endif
}

// The address of the key, masked.
static __always_inline struct ps_address limit_address(const struct ps_limit *limit, const struct ps_datagram *d, __u32 side)
{
  struct ps_address a = d->address[side];
  if (d->flags & PS_IPV4) {
    a.lo &= PS_V4_MARK | limit->mask4;
  } else {
    a.hi &= limit->mask6.hi;
    a.lo &= limit->mask6.lo;
  }
  return a;
}

static __always_inline __u64 limit_hash_side(const struct ps_limit *limit, const struct ps_limit_head *head, __u64 h,
                                             const struct ps_datagram *d, __u32 side)
{
  const struct ps_address a = limit_address(limit, d, side);
  return limit_hash_address(head, h, d->flags & PS_IPV4, a.hi, a.lo);
}

// The hash of the packet's key.  That of a ban is the same: its key is one address, too.
static __always_inline __u64 limit_hash(const struct ps_limit *limit, const struct ps_limit_head *head, const struct ps_datagram *d)
{
  __u64 h = limit_hash_begin(limit, head);
  if (LIMIT_ASKS(PS_LIMIT_SOURCE))
    h = limit_hash_side(limit, head, h, d, PS_SOURCE);
  if (LIMIT_ASKS(PS_LIMIT_DESTINATION))
    h = limit_hash_side(limit, head, h, d, PS_DESTINATION);
  if (LIMIT_ASKS(PS_LIMIT_FLOW))
    h = limit_mix(head, h, (__u64)d->port[PS_SOURCE] << 24 | (__u64)d->port[PS_DESTINATION] << 8 | d->protocol);
  return limit_hash_end(h);
}

// Of a key without a place the bucket that its prefix shares.
static __always_inline __u64 *limit_shared(const struct ps_limit *limit, const struct ps_limit_head *head, const struct ps_datagram *d)
{
  const struct ps_address *a = &d->address[limit->flags & PS_LIMIT_SOURCE ? PS_SOURCE : PS_DESTINATION];
  const __u64 prefix = d->flags & PS_IPV4 ? PS_V4_MARK | (a->lo & limit->share4) : a->hi & limit->share6;
  const __u64 h = limit_hash_end(limit_mix(head, ~limit_hash_begin(limit, head), prefix));
  struct ps_limit_line *line = limit_line(limit->shares + limit_line_one(h, limit->share_lines));
  if (!line)
    return 0;
  __u64 *words = (__u64 *)line;
  asm volatile("" : "+r"(words));  // clang must not add to it before the test
  return words + (h & 7);
}

// The bucket of the packet's key, made where there is none; or that of its prefix.
static __always_inline __u64 *limit_bucket(const struct ps_limit *limit, const struct ps_limit_head *head, const struct ps_datagram *d,
                                           __u64 hash, __u64 now)
{
  const __u64 key = hash & ~PS_LIMIT_SEEN;
  struct ps_limit_line *one = limit_line(limit->buckets + limit_line_one(hash, limit->bucket_lines));
  struct ps_limit_line *two = limit_line(limit->buckets + limit_line_two(hash, limit->bucket_lines));
  if (!one || !two)
    return 0;
  struct ps_limit_entry *entry = limit_find(one, key, PS_LIMIT_SEEN);
  if (!entry)
    entry = limit_find(two, key, PS_LIMIT_SEEN);
  if (entry) {
    if (entry->key == key && writes())
      limit_swap(&entry->key, key, key | PS_LIMIT_SEEN);
    return &entry->word;
  }
  struct ps_limit_counts *counts = limit_counts(limit);
  __u64 before = 0;
  if (!writes()) {
    // The place that the key would have: idle, as good as new.
    const __u32 room = limit_room(one, now, PS_LIMIT_SEEN, limit->keep), other = limit_room(two, now, PS_LIMIT_SEEN, limit->keep);
    if (room)
      return &one->entry[limit_lowest(room)].word;
    if (other)
      return &two->entry[limit_lowest(other)].word;
  } else {
    entry = limit_claim(one, two, key, now, PS_LIMIT_SEEN, limit->keep, &before);
  }
  if (entry) {
    if (before && counts)
      limit_count(&counts->evicted);
    return &entry->word;
  }
  if (counts)
    limit_count(&counts->shared);
  return limit_shared(limit, head, d);
}

// The two lines of bans where the packet's address has its place, and its key there.
struct limit_ban_place {
  struct ps_limit_line *one, *two;
  __u64 key;
};
static __always_inline struct limit_ban_place limit_ban_place(const struct ps_limit *limit, const struct ps_datagram *d, __u64 hash)
{
  const struct ps_address a = limit_address(limit, d, limit->flags & PS_LIMIT_SOURCE ? PS_SOURCE : PS_DESTINATION);
  const __u64 key = limit_ban_key(d->flags & PS_IPV4, a.hi, a.lo);
  return (struct limit_ban_place){limit_line(limit->bans + limit_line_one(hash, limit->ban_lines)),
                                  limit_line(limit->bans + limit_line_two(hash, limit->ban_lines)), key};
}

static __always_inline struct ps_limit_entry *limit_find_ban(const struct limit_ban_place *at)
{
  if (!at->one || !at->two)
    return 0;
  struct ps_limit_entry *entry = limit_find(at->one, at->key, 0);
  return entry ? entry : limit_find(at->two, at->key, 0);
}

// When the ban of the packet's address ends, ticks; 0: it has none.
static __always_inline __u64 limit_banned(const struct ps_limit *limit, const struct ps_datagram *d, __u64 hash)
{
  const struct limit_ban_place at = limit_ban_place(limit, d, hash);
  const struct ps_limit_entry *entry = limit_find_ban(&at);
  return entry ? *(volatile __u64 *)&entry->word : 0;
}

// Bans the packet's address, where there is a place: what is banned never makes room.
__noinline int limit_impose(__u32 index)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_limit *limit = bpf_map_lookup_elem(&limits, &index);
  if (!(limit_const.flags & PS_LIMIT_BANS) || !p || !limit || !writes())
    return 0;
  const struct ps_limit_head *head = (const struct ps_limit_head *)limit_line(0);
  struct ps_limit_counts *counts = limit_counts(limit);
  if (!head || !counts)
    return 0;
  const struct limit_ban_place at = limit_ban_place(limit, &p->outer, limit_hash(limit, head, &p->outer));
  if (!at.one || !at.two)
    return 0;
  const __u64 now = limit_now(limit);
  __u64 before = 0;
  struct ps_limit_entry *entry = limit_find_ban(&at);
  if (!entry)
    entry = limit_claim(at.one, at.two, at.key, now, ~0ull, limit->ban_most, &before);
  if (!entry)  // those that are only remembered
    entry = limit_claim(at.one, at.two, at.key, now, 0, 0, &before);
  if (!entry) {
    limit_count(&counts->refused);
    return 0;
  }
  const __u64 word = *(volatile __u64 *)&entry->word;
  if (word > now)  // another CPU was faster
    return 0;
  if (limit_swap(&entry->word, word, limit_ban_word(limit, before ? 0 : word, now)) == word)
    limit_count(&counts->banned);
  return 0;
}

// Tells explain how limit `id` judged: enum ps_limit_state, and in us how much of its burst is left, or the ban in s.
static __always_inline void limit_trace(const struct ps_limit *limit, enum ps_limit_state state, __u64 ticks)
{
  if (core_const.trace < PS_TRACE_EVENTS)
    return;
  const __u64 ns = ticks >> PS_TICKS_LOG, value = ns / (state == PS_LIMIT_IS_BANNED ? 1000000000 : 1000);
  trace_event(PS_TRACE_LIMIT, limit->id, state, value > 0xffffffff ? 0xffffffff : value);
}

// Counts the packet against limit `index`.  Returns ps_rule.slot of the match, LIMIT_NO_SLOT where the rule does not match.
__noinline __u32 limit_slot(__u32 index)
{
  const struct ps_packet *p = packet_scratch();
  const struct ps_limit *limit = bpf_map_lookup_elem(&limits, &index);
  if (!limit_const.flags || !p || !limit)
    return LIMIT_NO_SLOT;
  const struct ps_limit_head *head = (const struct ps_limit_head *)limit_line(0);
  if (!head)
    return LIMIT_NO_SLOT;
  const struct ps_datagram *d = &p->outer;
  const __u64 now = limit_now(limit), hash = limit_hash(limit, head, d);
  if (LIMIT_ASKS(PS_LIMIT_BANS)) {
    const __u64 end = limit_banned(limit, d, hash);
    if (end > now) {
      limit_trace(limit, PS_LIMIT_IS_BANNED, end - now);
      return limit->slot[1];
    }
  }
  __u64 *word = limit_bucket(limit, head, d, hash, now);
  if (!word)
    return LIMIT_NO_SLOT;
  const __u64 seen = *(volatile __u64 *)word;
  const int within = limit_take(limit, word, now, limit_cost(limit, p));
  limit_trace(limit, within ? PS_LIMIT_IS_WITHIN : PS_LIMIT_IS_OVER, seen <= now ? limit->depth : seen < now + limit->depth ? now + limit->depth - seen : 0);
  if (LIMIT_ASKS(PS_LIMIT_BANS) && !within)
    limit_impose(index);
  return within == !!LIMIT_ASKS(PS_LIMIT_WITHIN) ? limit->slot[0] : LIMIT_NO_SLOT;
}
