// The tables of limits, as compile.cpp writes and limit.bpf.h reads them.
//
// A limit counts by keys (a source, a flow, ...).  A key's bucket is one word, the time at which all that passed will be
// paid for at the rate (GCRA: the theoretical arrival time).  A packet is within the rate if, having paid, that time is no
// more than the burst ahead of now.  A word in the past is a full bucket: nothing is lost when another key takes its place.
//
// Times are ticks of 1/16 ns on the monotonic clock: what a packet costs at 100 Mpps is 160 of them, and 64 bits last
// for 36 years of uptime.
#pragma once
#include "bpf/packet.h"

#define PS_LIMIT_LAYOUT 1      // of `limit_lines`
#define PS_TICKS_LOG 4         // ticks in a ns, log 2
#define PS_TICKS(ns) ((ns) << PS_TICKS_LOG)

// A place for a key: in a bucket line its word is the bucket, in a ban line it says until when and how often.
struct ps_limit_entry {
  __u64 key;
  __u64 word;
};
// One line of the cache: map `limit_lines`, state that generations share.
struct ps_limit_line {
  struct ps_limit_entry entry[4];
} __attribute__((aligned(64)));

// The first line of the map, of entries: whoever makes the map writes it.
struct ps_limit_head {
  __u64 layout;                // PS_LIMIT_LAYOUT
  __u64 seed;                  // random, of the hashes
  __u64 multiplier[2];         // random
  __u64 pad[4];
};

// A key of a bucket is a keyed hash of 64 bits, but for this bit: the key has been seen more than once.  Such a key keeps
// its place for a time after its bucket is full, so that a flood of new keys cannot take it.
#define PS_LIMIT_SEEN 1ull
// A key of a ban is the address itself, exactly: an IPv4 address below PS_LIMIT_V4, or the upper half of an IPv6
// prefix.  Where one of these (all in ::/16, which is reserved) looks like the other, it is changed.
#define PS_LIMIT_V4 0x0000ffff00000000ull
// The word of a ban: the tick when it ends, but for these bits: how often the key was banned.
#define PS_BAN_COUNT 0xfffull

// What a limit counted on one CPU: a line each, in front of the limit's other lines.
struct ps_limit_counts {
  __u64 evicted;               // idle keys that made room for others: nothing was lost
  __u64 shared;                // packets that found no place for their key: they took from their prefix's bucket
  __u64 banned;                // bans imposed
  __u64 refused;               // bans that were not, since there was no place (ENOSPC)
  __u64 pad[4];
};

enum ps_limit_flags {
  PS_LIMIT_SOURCE = 1 << 0,        // what the key is made of
  PS_LIMIT_DESTINATION = 1 << 1,
  PS_LIMIT_FLOW = 1 << 2,          // and protocol and ports
  PS_LIMIT_BYTES = 1 << 3,         // bytes are counted, not packets
  PS_LIMIT_PRECISE = 1 << 4,       // the burst is less than the coarse clock can tell
  PS_LIMIT_WITHIN = 1 << 5,        // the rule matches what is within the rate, else what is over it
  PS_LIMIT_BANS = 1 << 6,
};

// How a limit judged a packet.
enum ps_limit_state {
  PS_LIMIT_IS_WITHIN,
  PS_LIMIT_IS_OVER,
  PS_LIMIT_IS_BANNED,
};

// Map `limits`.
struct ps_limit {
  __u64 each;                  // ticks that a packet costs; with PS_LIMIT_BYTES what a byte does, << 16
  __u64 depth;                 // of the bucket: the burst
  __u64 keep;                  // how long a key that was seen again keeps its place when its bucket is full
  __u64 ban;                   // how long an offender is banned the first time
  __u64 ban_most;              // at most; and for so long behind its end a ban is remembered
  struct ps_address mask6;     // of IPv6 addresses in keys
  __u64 share6;                // of the prefix that stands in for a key, upper half
  __u32 mask4;                 // of IPv4 addresses
  __u32 share4;
  __u32 id;                    // a counter slot of the rule: stable, and not given to another while a revision names it
  __u32 slot[2];               // ps_rule.slot of a match: over (or within) the rate, banned
  __u32 flags;                 // enum ps_limit_flags
  __u32 ban_factor;            // by which a ban grows each time
  // The limit's own lines in `limit_lines`.
  __u32 counts;                // a line for each lane
  __u32 lanes;
  __u32 buckets;
  __u32 bucket_lines;
  __u32 shares;                // lines of words: buckets of prefixes
  __u32 share_lines;
  __u32 bans;
  __u32 ban_lines;
  __u32 pad;
};

// Symbol `limit_const`.  What no limit of the hook asks, the verifier takes out of the program.
struct ps_limit_const {
  __u32 flags;                 // of all limits; 0: there are none
};
