// The classifier of a policy: first match over any number of rules.  As classifier.cpp writes it and
// classifier.bpf.h reads it.
//
// A rule becomes entries: each a conjunction of one source prefix, one destination prefix, one range of source ports,
// one of destination ports, a protocol, flags, and perhaps a residual test (sets, negation, sockets).  Entries that
// mask the packet alike form a tuple; at most 256 tuples, ordered by their first entry's position.
//
//   1. Each field's value leads to a class, and the class to a vector of 256 bits: the tuples that have an entry which
//      the value can satisfy.  A vector may have a bit too many, never one too few.
//   2. The vectors' conjunction is the list of candidates.  With one tuple there is nothing to look up.
//   3. For each candidate the packet, masked, is hashed to a chain of entries in order of position; an entry tests
//      the packet in full.  The walk ends when no remaining candidate can have an earlier entry than the best so far.
//
// All but the descriptor lies in one mapped array of 64-byte lines; line numbers are relative to the descriptor's
// `base`, so that a run of lines can be copied elsewhere unchanged.
#pragma once
#include "bpf/packet.h"

struct ps_line {
  __u64 word[8];
} __attribute__((aligned(64)));

// What is classified.  Addresses are the 128 bits of struct ps_address; ports and service stand in `lo`.
enum ps_class_fields {
  PS_CLASS_SOURCE_V4,
  PS_CLASS_SOURCE_V6,
  PS_CLASS_DESTINATION_V4,
  PS_CLASS_DESTINATION_V6,
  PS_CLASS_SOURCE_PORT,
  PS_CLASS_DESTINATION_PORT,
  PS_CLASS_SERVICE,               // protocol, | PS_SERVICE_PORTS when the ports are known
  PS_CLASS_FIELDS,
};
#define PS_SERVICE_PORTS 256

// How a field's value is classified: a table indexed by some of its bits, then nodes.
// An entry of the table is a class, or PS_ROOT_NODE | line of a node.
struct ps_class_field {
  __u32 root;                     // first line of the table: u32, 16 to a line
  __u32 vectors;                  // first vector, in half lines: class c's is `vectors + c`
  __u16 mask;                     // index = word >> shift & mask
  __u8 shift;
  __u8 low;                       // 1: word is lo, 0: hi
  __u32 used;                     // 0: every value has all tuples, there is nothing to look up
};
#define PS_ROOT_NODE 0x80000000u
#define PS_ROOT_BITS 16

// A node (one line): looks at 15 bits of the value, which fall into one of at most 15 intervals.
// Interval i begins at key[i - 1], interval 0 at 0; unused keys are PS_NODE_KEY_MAX and their values repeat the last.
// 15 bits leave each lane a spare bit, so that four keys are compared in one subtraction.
struct ps_class_node {
  __u32 head;                     // bits 0..5 shift, bit 6 low, from bit 7 the line of the first child
  __u16 key[14];
  __u16 value[15];                // a class of the page, or PS_NODE_CHILD | number of the child
  __u16 page;                     // the class is page * PS_CLASS_PAGE + value
};
#define PS_NODE_BITS 15
#define PS_NODE_KEY_MAX 0x7fff
#define PS_NODE_FAN 15
#define PS_NODE_CHILD 0x8000
#define PS_CLASS_PAGE 0x8000
#define PS_NODE_DEPTH 24          // nodes on the way to a class, at most

#define PS_TUPLES_MAX 256

// A tuple (one line).  mask[]: source hi, lo, destination hi, lo; `rest` masks source port << 24 |
// destination port << 8 | protocol.
struct ps_class_tuple {
  __u64 mask[4];
  __u64 rest;
  __u64 seed;
  __u32 first;                    // the least position of its entries
  __u32 pad[3];
};

// An entry (one line).
struct ps_class_entry {
  __u64 address[4];               // as in ps_class_tuple, masked by its own prefix lengths
  __u8 ignore[4];                 // how many low bits of each do not count, 0..64
  __u16 port_first[2];            // by enum ps_side, inclusive, host order; 0 and 65535 when any
  __u16 port_last[2];
  __u32 position;                 // in the policy, the same for all entries of a rule; PS_NO_POSITION: no entry here
  __u32 next;                     // line of the next entry of the chain, greater position; 0: none
  __u32 slot;
  __u8 proto;
  __u8 needs;                     // enum ps_packet_flags that the packet must have, all of them
  __u8 verdict;                   // enum ps_verdict
  __u8 flags;                     // enum ps_class_entry_flags
  __u32 residual;                 // PS_CLASS_RESIDUAL: first << 8 | count of entries in map `policy_rules`
};
enum ps_class_entry_flags {
  PS_CLASS_PROTO = 1 << 0,
  PS_CLASS_RESIDUAL = 1 << 1,     // these entries of `policy_rules` must have a match, too
                                  // from bit 3 on: enum ps_then
};
// How often one packet may be looked up again, behind entries that let it go on.
#define CLASS_TURNS 512
#define PS_NO_POSITION 0xffffffffu
#define PS_RESIDUAL_COUNT_MAX 64

// Map `classifiers`.
struct ps_classifier {
  __u64 all[4];                   // a bit for each tuple
  __u32 base;                     // first line in map `classifier_lines`
  __u32 tuples;                   // how many; 1: no field is looked up
  __u32 tuple;                    // line of the first
  __u32 home;                     // line of the first chain
  __u32 homes;                    // number of chains
  __u32 first_residual;           // index in `policy_rules` that residuals count from
  __u64 zero;                     // 0, which the verifier cannot know: states that differ in a constant multiply
  struct ps_class_field field[PS_CLASS_FIELDS];
  __u32 pad2[12];
};

// The hash of a masked packet: the high half picks a chain.
#define PS_HASH_0 0x9e3779b97f4a7c15ull
#define PS_HASH_1 0xc2b2ae3d27d4eb4full
#define PS_HASH_2 0x165667b19e3779f9ull
#define PS_HASH_3 0xd6e8feb86659fd93ull
#define PS_HASH_4 0xa0761d6478bd642full
