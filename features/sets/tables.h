// The tables of sets as the kernel reads them; shared by the builder (table.cpp) and the programs
// (lookup.bpf.h).
//
// All tables of a generation lie in one mapped array of 64-byte lines, `set_lines`.  A set's part for one
// address family occupies a contiguous run of lines at `base`; every index inside the run is relative to
// it, so that a run can be copied elsewhere unchanged.
//
// Addresses are 128-bit values in two host-order words (hi, lo), left aligned: an IPv4 address a is
// hi = a << 32, lo = 0.  A prefix length counts from the top, for both families.
#ifndef PENSTOCK_FEATURES_SETS_TABLES_H
#define PENSTOCK_FEATURES_SETS_TABLES_H

#include <linux/types.h>

struct set_line {
    __u64 word[8];
} __attribute__((aligned(64)));

// Content chooses the kind; `status` prints its name.
//
// linear   IPv4, no ids, up to SET_LINEAR_MAX prefixes, four pairs a line:
//          word[2i] two addresses, word[2i+1] their two masks.  Unused places repeat the last prefix.
//
// blocks   IPv4, no ids.  An index of SET_BLOCKS_LINES lines: a u32 for each /16.  What lies in a /16 is prefixes in
//          u16 lanes: 15 bits of the address within a half of the /16, a 1 behind the prefix's last, then 0.  The
//          entry's form is its top two bits:
//          0 (all of it)  nothing of the /16 is in the set
//          0, 1        a run of lanes in line aux + (low SET_BLOCK_PLACE_BITS bits): SET_BLOCK_LOWER of the lower
//                      half, then SET_BLOCK_UPPER of the upper, the first is lane 2 * SET_BLOCK_FIRST.
//                      Lane n is the u16 n / 8 of word n % 8.  Runs of several /16s share a line.
//          SET_BLOCK_WORD  up to four lanes: word SET_BLOCK_WORD_AT of that line, the first SET_BLOCK_WORD_LOWER of
//                      the lower half, the others of the upper; unused ones repeat the last.
//          SET_BLOCK_MORE  n in SET_BLOCK_BITS, a line in the bits below.  n = SET_BLOCK_ALL_BITS: from this line on
//                      a bit for each address of the /16, 512 a line.  Else 2^n entries, for each part of the /16.
//
// slots    IPv4 with ids.  One line for each 64 /24s (an /18), SET_SLOT_GROUPS lines, then a pool of u32.
//          word[0]     occupied: the /24 differs from the group's default; its place is its rank
//          bytes 8..   u32 default id
//          bytes 12..  inline: {first, last} u8 pairs, bytes 28.. as many u32 ids: what lies between
//          bytes 60..  u32: place of the group's first pool entry (in u32), 0 if it is inline
//          A pool entry is two u32: the id or (SET_SLOT_COMPLEX) the line of a chunk;
//          first | last << 8 | flags << 16.
//          Chunk: 256 bits that mark where a new interval starts, four u8 counts of marks before each
//          word, then the intervals' ids as u32, running on into the next lines.
//
// tree     any family, with or without ids: the address space cut into intervals.  Four roots at lines
//          0, 2, 4, 6, chosen by the address's top two bits; the other 126 are compared as two 63-bit
//          words, so that a borrow is the sign bit.  word[0] of a node, SET_TREE_*:
//          bits 0..30  leaf: eight result bits, or (with ids) the half line of its eight ids;
//                      inner: first child's line; table: first line of its slots
//          SET_TREE_WIDE   the keys' low words are in word[1..7] of the next line (else all are zero)
//          SET_TREE_PAIRS  children are two lines apart, since some are wide
//          word[1..7]  inner and leaf: high words of up to 7 keys, ascending; unused: SET_TREE_NO_KEY.
//                      An address that is not below key k goes to child or interval k.
//          table, buckets: over a block of addresses, 2^(SET_TREE_SHIFT + SET_TREE_BITS) values of the high
//                      word from word[1]; for all others word[2] is the line of the node.
//          table: a slot is a u32, the line of the node for one value of the high word's bits SET_TREE_SHIFT..
//                      (SET_TREE_BITS of them).
//          buckets (no ids): the line of a value is first child + value: a bucket.  It tells the address by its
//                      cell, the SET_TREE_CELL bits below, of at most 14:
//          word[0]     SET_TREE_BUCKET_IN: the bucket begins within the set; bits 0..30 quarter line of its first
//                      record, or (with SET_TREE_BUCKET_MORE) line of the node that decides
//          word[1]     four u16: cells from which on addresses are in the set, then no more, and so on
//          word[2..7]  24 u16: cells of which the record of the same place says more; unused: SET_TREE_NO_CELL
//          A record is a prefix in the set: hi and lo without the topmost bit (the bucket knows it), a 1 behind
//          the last, then 0.
enum set_kind {
    SET_EMPTY,
    SET_LINEAR,
    SET_BLOCKS,
    SET_SLOTS,
    SET_TREE,
};

enum {
    SET_LINEAR_MAX = 16,
    SET_BLOCKS_LINES = 1 << 12,
    SET_BLOCK_LANES = 32,               // of a line
    SET_BLOCK_HALF_MAX = 31,            // lanes of one half
    SET_BLOCK_PLACE_BITS = 17,
    SET_BLOCK_LINES_MAX = 1 << SET_BLOCK_PLACE_BITS,
    SET_BLOCK_FIRST = 17,               // bit offsets in an entry
    SET_BLOCK_LOWER = 21,
    SET_BLOCK_UPPER = 26,
    SET_BLOCK_FORM = 30,
    SET_BLOCK_WORD_AT = 17,             // with SET_BLOCK_WORD
    SET_BLOCK_WORD_LOWER = 20,
    SET_BLOCK_BITS = 27,                // with SET_BLOCK_MORE
    SET_BLOCK_MORE = 2,
    SET_BLOCK_WORD = 3,
    SET_BLOCK_ALL_BITS = 7,
    SET_SLOT_GROUP_BITS = 18,
    SET_SLOT_GROUPS = 1 << SET_SLOT_GROUP_BITS,
    SET_SLOT_INLINE_MAX = 8,
    SET_SLOT_DEFAULT = 8,               // byte offsets
    SET_SLOT_PAIRS = 12,
    SET_SLOT_IDS = 28,
    SET_SLOT_POOL = 60,
    SET_SLOT_COMPLEX = 1,
    SET_CHUNK_COUNTS = 32,              // byte offset of the counts in a chunk
    SET_CHUNK_IDS = 9,                  // place of the first id in a chunk, in u32
    SET_TREE_HEIGHT = 16,               // three tables, and the rest
    SET_TREE_SHIFT = 40,                // bit offsets in a table's word[0]
    SET_TREE_BITS = 48,
    SET_TREE_CELL = 56,
    SET_TREE_CELL_MAX = 14,
    SET_TREE_TURNS_MAX = 4,             // of a bucket
    SET_TREE_CELLS_MAX = 24,
    SET_TREE_NO_CELL = 0x7fff,
    SET_EXTRA_DEPTH = 129,              // prefixes that can cover each other: /0 to /128
};
#define SET_BLOCK_NO_LANES 0x0001000100010001ULL    // unused: any but 0
#define SET_TREE_NO_KEY (1ULL << 63)
#define SET_TREE_LEAF (1ULL << 63)
#define SET_TREE_TABLE (1ULL << 62)
#define SET_TREE_BUCKETS (1ULL << 61)
#define SET_TREE_BUCKET_MORE (1ULL << 32)
#define SET_TREE_BUCKET_IN (1ULL << 33)
#define SET_TREE_PAIRS (1ULL << 32)
#define SET_TREE_WIDE (1ULL << 31)
#define SET_TREE_MASK 0x7fffffffULL

// One address family of a set.
struct set_part {
    __u32 kind;                         // enum set_kind
    __u32 base;                         // first line in set_lines
    __u32 lines;                        // length of the run
    __u32 aux;                          // linear: lines in use; blocks: first line of lanes; tree: 1 with ids
};

// Map `sets`: one descriptor per set of the generation.
struct set_table {
    struct set_part part[2];            // [0] IPv4, [1] IPv6
    __u32 number;                       // stable number: index in set_extra and set_extra_counts
    __u32 flags;                        // SET_HITS
    __u32 reserved[6];
};
enum { SET_HITS = 1 };                  // count a hit of each element

// Run-time elements of one set: an inner map of `set_extra`, built whole and swapped at each change.
// Line 0 is the header; the elements follow, element n in line n; then the parts, whose base counts
// lines of this map and whose ids are element numbers.  Programs of an older build may read it too: a new layout takes a
// new name of the map.
struct set_extra_header {
    __u32 count;                        // elements 1..count
    __u32 reserved[3];
    struct set_part part[2];            // tree with ids, or empty
    __u64 version;                      // of the elements' file that it was built from
    __u64 ids_of;                       // the generation whose owners (set_hit_owners) agree with the ids
};

struct set_extra_element {
    __u64 hi, lo;                       // address, left aligned
    __u64 expiry;                       // ns of the coarse monotonic clock; 0: never
    __u32 id;                           // what a lookup returns: the slot of its counter, never 0
    __u32 parent;                       // next wider element that may outlive this one; 0: none
    __u8 length;                        // prefix length
    __u8 ipv6;                          // 0 or 1
    __u8 reserved[30];
};

// Most sets that can have run-time elements: entries of `set_extra` and `set_extra_counts`.
#define SET_NUMBERS 1024

// Map `set_hit_owners`: whose hits are counted at a place of `set_hits`; the place is the element's id.
// Programs do not read it.
struct set_hit_owner {
    __u64 hi, lo;                       // address, left aligned
    __u16 set;                          // number of the set + 1; 0: the place is free
    __u8 length;                        // prefix length
    __u8 ipv6;                          // 0 or 1
    __u32 age;                          // generations since the element was last named; 0: it is named
};
#define SET_NO_COUNTER 0xffffffffU      // id of an element for which there is no place

#endif
