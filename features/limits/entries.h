// How a key finds its place among the lines of a limit; for programs and user space alike.
//
// A key has two lines, by two halves of its hash, and lies in one of their eight entries: the lines are asked in turn, a new
// key goes to the one that has more room, to the first if three are free.  So half of all places can be taken before one key
// in 30,000 finds none, and of a third of them none in millions.
// Nothing is locked.  A place is taken by compare-and-swap on the key; what two CPUs do there at the same time can cost
// a key one packet's worth, never more.
#pragma once
#include "features/limits/tables.h"

#ifdef __cplusplus
#define LIMIT_INLINE static inline
#define LIMIT_UNROLLED
#else
#define LIMIT_INLINE static __always_inline
#define LIMIT_UNROLLED _Pragma("clang loop unroll(full)")
#endif

// Stores `to` where there is `from`.  Returns what was there.  Kernels of the level `basic` know no compare-and-swap: there
// a CPU may undo what another did in the same moment.
LIMIT_INLINE __u64 limit_swap(__u64 *at, __u64 from, __u64 to)
{
#ifdef PS_LEVEL_basic
  const __u64 seen = *(volatile __u64 *)at;
  if (seen == from)
    *(volatile __u64 *)at = to;
  return seen;
#else
  return __sync_val_compare_and_swap(at, from, to);
#endif
}

// A step of a keyed hash.  Both halves of the word are multiplied by secret numbers: no two words are known to collide.
// (A head of zeros, as replay has it, is a key like others.)
LIMIT_INLINE __u64 limit_mix(const struct ps_limit_head *head, __u64 h, __u64 word)
{
  h ^= word;
  h = (h >> 32) * (head->multiplier[0] ^ 0x9e3779b97f4a7c15ull) + (h & 0xffffffff) * (head->multiplier[1] ^ 0xc2b2ae3d27d4eb4full);
  return h ^ h >> 32;
}

// The hash of a key: begun with the limit, then what the key is made of, already masked.
LIMIT_INLINE __u64 limit_hash_begin(const struct ps_limit *limit, const struct ps_limit_head *head)
{
  return head->seed ^ ((__u64)limit->id << 32 | (limit->flags & (PS_LIMIT_SOURCE | PS_LIMIT_DESTINATION | PS_LIMIT_FLOW)));
}
LIMIT_INLINE __u64 limit_hash_address(const struct ps_limit_head *head, __u64 h, __u32 ipv4, __u64 hi, __u64 lo)
{
  if (ipv4)
    return limit_mix(head, h, lo & 0xffffffff);
  return limit_mix(head, limit_mix(head, h, hi), ~lo);  // twice, so that no IPv6 address is like an IPv4 one
}
LIMIT_INLINE __u64 limit_hash_end(__u64 h)
{
  h = (h ^ h >> 29) * 0x94d049bb133111ebull;
  h ^= h >> 32;
  return h & ~PS_LIMIT_SEEN ? h : 2;  // 0 is an empty place
}

// Of the two lines of a hash, relative to the first of `lines`.
LIMIT_INLINE __u32 limit_line_one(__u64 hash, __u32 lines)
{
  return (hash >> 32) * lines >> 32;
}
LIMIT_INLINE __u32 limit_line_two(__u64 hash, __u32 lines)
{
  return (hash & 0xffffffff) * lines >> 32;
}

// 1 where the word is not 0.  No branches among entries: their order cannot be foreseen, nor could the verifier follow.
LIMIT_INLINE __u64 limit_not_zero(__u64 word)
{
  return (word | -word) >> 63;
}
// Of a mask with a bit for each entry of a line: the lowest entry, and how many there are.
LIMIT_INLINE __u32 limit_lowest(__u32 mask)
{
  return 0x0102010301020100ull >> (mask * 4 & 63) & 3;
}
LIMIT_INLINE __u32 limit_how_many(__u32 mask)
{
  return 0x4332322132212110ull >> (mask * 4 & 63) & 7;
}

// The entry of the key in the line, bits of `ignored` apart; or NULL.
LIMIT_INLINE struct ps_limit_entry *limit_find(struct ps_limit_line *line, __u64 key, __u64 ignored)
{
  __u32 mask = 0;
  LIMIT_UNROLLED
  for (int i = 0; i < 4; i++)
    mask |= (limit_not_zero((*(volatile __u64 *)&line->entry[i].key ^ key) & ~ignored) ^ 1) << i;
  return mask ? &line->entry[limit_lowest(mask)] : 0;
}

// A mask of the entries where a key may take its place; keys that have one of the bits `kept` stay for `keep` ticks beyond
// their word.
LIMIT_INLINE __u32 limit_room(struct ps_limit_line *line, __u64 now, __u64 kept, __u64 keep)
{
  __u32 mask = 0;
  LIMIT_UNROLLED
  for (int i = 0; i < 4; i++) {
    const __u64 end = *(volatile __u64 *)&line->entry[i].word + (keep & -limit_not_zero(line->entry[i].key & kept));
    mask |= ((now - end) >> 63 ^ 1) << i;
  }
  return mask;
}

// The place of a key that has none, or NULL; `before` is whose it was.  The word is as that key left it, not after `now`: an
// idle bucket, no ban.
LIMIT_INLINE struct ps_limit_entry *limit_claim(struct ps_limit_line *one, struct ps_limit_line *two, __u64 key, __u64 now,
                                                __u64 kept, __u64 keep, __u64 *before)
{
  const __u32 room = limit_room(one, now, kept, keep), other = limit_room(two, now, kept, keep);
  const int second = limit_how_many(room) < 3 && limit_how_many(other) > limit_how_many(room);
  const __u32 mask = second ? other : room;
  if (!mask)
    return 0;
  struct ps_limit_entry *entry = &(second ? two : one)->entry[limit_lowest(mask)];
  *before = *(volatile __u64 *)&entry->key;
  return limit_swap(&entry->key, *before, key) == *before ? entry : 0;
}

// The key of a ban on an address, already masked.  `lo` counts of IPv4 only.
LIMIT_INLINE __u64 limit_ban_key(__u32 ipv4, __u64 hi, __u64 lo)
{
  if (ipv4)
    return PS_LIMIT_V4 | (lo & 0xffffffff);
  if (hi >> 32 == PS_LIMIT_V4 >> 32)
    return hi ^ 1ull << 32;
  return hi ? hi : 1;  // 0 is an empty place
}

// The word of a ban that begins now on a key whose last ban left `before`.
LIMIT_INLINE __u64 limit_ban_word(const struct ps_limit *limit, __u64 before, __u64 now)
{
  __u64 count = before & PS_BAN_COUNT, time = limit->ban;
  if (before + limit->ban_most <= now)
    count = 0;  // forgotten
  const __u64 most = limit->ban_most, last = limit->ban_factor ? most / limit->ban_factor : most;
  for (__u32 i = 0; i < 32 && i < count && time < most; i++)
    time = time > last ? most : time * limit->ban_factor;
  if (count < PS_BAN_COUNT)
    count++;
  return ((now + time) & ~PS_BAN_COUNT) | count;
}
