// Lookups in sets: exact longest prefix, a few cache lines each.  The layouts are told in tables.h.
//
// Unpredictable branches cost more than arithmetic here (a branch on a value that missed the cache stalls
// everything behind it), so comparisons are subtractions whose sign bit is used as a number.
#ifndef PENSTOCK_FEATURES_SETS_LOOKUP_BPF_H
#define PENSTOCK_FEATURES_SETS_LOOKUP_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "features/sets/tables.h"

#ifndef BPF_F_INNER_MAP
#define BPF_F_INNER_MAP (1U << 12)
#endif

// Compares in a node are written out; walks stay loops.  (Tests compile this with another compiler.)
#ifdef __clang__
#define SET_UNROLLED _Pragma("clang loop unroll(full)")
#define SET_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define SET_UNROLLED
#define SET_ROLLED
#endif

// The loader sets the sizes.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct set_line);
} set_lines SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct set_table);
} sets SEC(".maps");

// Hits: lane of the CPU * capacity + element id.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} set_hits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct set_hit_owner);
} set_hit_owners SEC(".maps");

// Run-time elements, and how many each set has (so that most packets skip the former).
struct set_extra_lines {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct set_line);
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct set_extra_lines);
} set_extra SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} set_extra_counts SEC(".maps");

// Sign bit of a 64-bit difference: 1 if it was negative.  The barrier keeps clang from making a branch of it.
static __always_inline __u64 set_sign(__u64 difference)
{
    difference >>= 63;
    asm volatile("" : "+r"(difference));
    return difference;
}

static __always_inline __u64 set_popcount(__u64 x)
{
    x -= (x >> 1) & 0x5555555555555555ULL;
    x = (x & 0x3333333333333333ULL) + ((x >> 2) & 0x3333333333333333ULL);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return (x * 0x0101010101010101ULL) >> 56;
}

static __always_inline struct set_line *set_line_at(void *map, __u32 at)
{
    return (struct set_line *)bpf_map_lookup_elem(map, &at);
}

// The u32 at a place counted in u32 from line `base`; 0 outside the map.
static __always_inline __u32 set_u32_at(void *map, __u32 base, __u32 place)
{
    const struct set_line *line = set_line_at(map, base + (place >> 4));
    return line ? ((const __u32 *)line)[place & 15] : 0;
}

// Two comparisons in each 64-bit word: a 32-bit lane that becomes zero is a match.
static __always_inline __u32 set_linear(__u32 base, __u32 lines, __u32 address)
{
    const __u64 ones = 0x0000000100000001ULL;
    const __u64 both = (__u64)address << 32 | address;
    __u64 found = 0;
    for (__u32 i = 0; i < SET_LINEAR_MAX / 8; i++) {
        if (i >= lines)
            break;
        const struct set_line *line = set_line_at(&set_lines, base + i);
        if (!line)
            return 0;
        SET_UNROLLED
        for (int k = 0; k < 8; k += 2) {
            const __u64 t = (both ^ line->word[k]) & line->word[k + 1];
            found |= (t - ones) & ~t;       // a false mark can only lie above a true one
        }
    }
    return (found & ones << 31) != 0;
}

// 1 if the low byte of the address lies in the pair first | last << 8.
static __always_inline __u64 set_in_pair(__u64 low, __u64 pair)
{
    return 1 ^ (set_sign(low - (pair & 0xff)) | set_sign((pair >> 8 & 0xff) - low));
}

// The sign bits of the lanes (u16, tables.h: blocks; none 0) whose prefix holds the address of which `four` has four
// copies; other bits mean nothing.
static __always_inline __u64 set_lanes_holding(__u64 lanes, __u64 four)
{
    // Lane by lane x ^ -x: the bits above the 1 behind the prefix.
    const __u64 prefixes = lanes ^ (0x0001000100010000ULL - lanes);
    return 0x8000800080008000ULL - (((lanes ^ four) & prefixes) >> 1);
}

// 1 if lanes of a line hold the address; `entry` tells which.
static __always_inline __u32 set_in_lanes(const struct set_line *line, __u32 entry, __u64 half, __u64 four)
{
    __u64 marks = 0;
    SET_UNROLLED
    for (int k = 0; k < 8; k++)
        marks |= (set_lanes_holding(line->word[k], four) & 0x8000800080008000ULL) >> (15 - k);
    marks = (marks | marks >> 8) & 0x0000ffff0000ffffULL;
    marks |= marks >> 16;               // bit n is lane n, below bit 32
    const __u64 lower = entry >> SET_BLOCK_LOWER & 31;
    const __u64 first = (entry >> SET_BLOCK_FIRST & 15) * 2 + (lower & -half);
    const __u64 count = entry >> (SET_BLOCK_LOWER + (SET_BLOCK_UPPER - SET_BLOCK_LOWER) * half) & 31;
    return ((marks & 0xffffffff) >> first & ((1ULL << count) - 1)) != 0;
}

// The same of one word.
static __always_inline __u32 set_in_word(__u64 word, __u32 entry, __u64 half, __u64 four)
{
    const __u64 eights = (entry >> SET_BLOCK_WORD_LOWER & 7) * 8;   // half the bits of the lower half's lanes
    const __u64 upper = ~0ULL << eights << eights;                  // in two steps, since one by 64 is none
    const __u64 wanted = upper ^ (half - 1);
    return (set_lanes_holding(word, four) & wanted & 0x8000800080008000ULL) != 0;
}

static __always_inline __u32 set_blocks(__u32 base, __u32 lanes, __u32 address)
{
    const __u64 x = address & 0xffff, half = x >> 15;
    __u32 entry = set_u32_at(&set_lines, base, address >> 16);
    SET_ROLLED
    for (int i = 0; i < 2 && entry >> SET_BLOCK_FORM == SET_BLOCK_MORE; i++) {
        const __u32 bits = entry >> SET_BLOCK_BITS & 7;
        const __u32 place = base + (entry & ((1U << SET_BLOCK_BITS) - 1));
        if (bits == SET_BLOCK_ALL_BITS) {
            const struct set_line *line = set_line_at(&set_lines, place + (x >> 9));
            return line ? line->word[x >> 6 & 7] >> (x & 63) & 1 : 0;
        }
        entry = set_u32_at(&set_lines, place, x >> (16 - bits));
    }
    if (!entry)
        return 0;
    const struct set_line *line = set_line_at(&set_lines, base + lanes + (entry & (SET_BLOCK_LINES_MAX - 1)));
    if (!line)
        return 0;
    const __u64 four = (x << 1 & 0xffff) * 0x0001000100010001ULL;
    if (entry >> 31)
        return set_in_word(line->word[entry >> SET_BLOCK_WORD_AT & 7], entry, half, four);
    return set_in_lanes(line, entry, half, four);
}

__noinline __u32 set_slots(__u32 base, __u32 address)
{
    const struct set_line *line = set_line_at(&set_lines, base + (address >> (32 - SET_SLOT_GROUP_BITS)));
    if (!line)
        return 0;
    const __u8 *bytes = (const __u8 *)line;
    const __u32 cell = address >> 8 & 63, low = address & 255;
    const __u64 occupied = line->word[0] >> cell & 1;
    const __u32 rank = set_popcount(line->word[0] & ((1ULL << cell) - 1));
    const __u32 fallback = *(const __u32 *)(bytes + SET_SLOT_DEFAULT);
    const __u32 pool = *(const __u32 *)(bytes + SET_SLOT_POOL);
    if (!pool) {
        const __u64 pair = *(const __u16 *)(bytes + SET_SLOT_PAIRS + 2 * (rank & 7));
        const __u32 id = *(const __u32 *)(bytes + SET_SLOT_IDS + 4 * (rank & 7));
        return fallback ^ ((fallback ^ id) & -(__u32)(occupied & set_in_pair(low, pair)));
    }
    if (!occupied)
        return fallback;
    const __u32 place = pool + 2 * rank;
    const struct set_line *entries = set_line_at(&set_lines, base + (place >> 4));
    if (!entries)
        return 0;
    const __u64 entry = entries->word[place >> 1 & 7];
    const __u32 value = entry, pair = entry >> 32;
    if (!(pair >> 16 & SET_SLOT_COMPLEX))
        return set_in_pair(low, pair & 0xffff) ? value : fallback;
    const struct set_line *chunk = set_line_at(&set_lines, base + value);
    if (!chunk)
        return 0;
    const __u32 w = low >> 6;
    const __u32 before = ((const __u8 *)chunk)[SET_CHUNK_COUNTS + w];
    const __u64 upto = ~0ULL >> (63 - (low & 63));
    const __u32 interval = before + set_popcount(chunk->word[w] & upto);
    return set_u32_at(&set_lines, base, value * 16 + SET_CHUNK_IDS + interval);
}

// 1 if a record of the bucket that is marked covers the address.  Bit 16 j + 8 + k of `marks` is lane j of word k.
static __always_inline __u32 set_in_records(void *map, __u32 first, __u64 marks, __u64 hi, __u64 lo)
{
    const __u64 high = hi << 1 | lo >> 63, low = lo << 1;
    SET_ROLLED
    for (__u64 i = 0; i < SET_TREE_CELLS_MAX && marks; i++, marks &= marks - 1) {
        const __u32 bit = set_popcount((marks & -marks) - 1);
        const __u32 record = first + ((bit & 15) - 10) * 4 + (bit >> 4);
        const struct set_line *line = set_line_at(map, record >> 2);
        if (!line)
            return 0;
        const __u64 *word = line->word + (record & 3) * 2;
        // Minus one changes the 1 behind the prefix and what follows: these bits are not compared.
        const __u64 skip_high = word[0] ^ (word[0] - !word[1]), skip_low = word[1] ^ (word[1] - 1);
        if (!(((high ^ word[0]) & ~skip_high) | ((low ^ word[1]) & ~skip_low)))
            return 1;
    }
    return 0;
}

// Marks the lanes (u16, less than 2^15) of a bucket that equal `cell`, as set_in_records() wants them.
static __always_inline __u64 set_marked_cells(const struct set_line *bucket, __u64 cell)
{
    const __u64 signs = 0x8000800080008000ULL, four = cell * 0x0001000100010001ULL;
    __u64 marks = 0;
    SET_UNROLLED
    for (int k = 2; k < 8; k++)
        marks |= (~((four ^ bucket->word[k]) + (signs - 0x0001000100010001ULL)) & signs) >> (7 - k);
    return marks;
}

// 1 if the bucket's turns at or before the cell leave it in the set.
static __always_inline __u32 set_turned(const struct set_line *bucket, __u64 cell)
{
    const __u64 signs = 0x8000800080008000ULL;
    __u64 turns = (cell * 0x0001000100010001ULL | signs) - bucket->word[1];
    turns ^= turns >> 32;
    turns ^= turns >> 16;
    return (turns >> 15 & 1) ^ !!(bucket->word[0] & SET_TREE_BUCKET_IN);
}

static __always_inline __u32 set_tree_in(void *map, __u32 base, __u32 ids, __u64 hi, __u64 lo)
{
    const __u64 high = hi << 2 >> 1 | lo >> 63, low = lo << 1 >> 1;
    __u32 at = hi >> 62 << 1;
    SET_ROLLED
    for (__u64 i = 0; i < SET_TREE_HEIGHT; i++) {  // 64 bits: a spilled counter must not share its place with a key
        const struct set_line *node = set_line_at(map, base + at);
        if (!node)
            return 0;
        const __u64 header = node->word[0];
        const __u32 first = header & SET_TREE_MASK;
        if (header & (SET_TREE_TABLE | SET_TREE_BUCKETS)) {
            const __u32 shift = header >> SET_TREE_SHIFT & 63, bits = header >> SET_TREE_BITS & 31;
            if ((high ^ node->word[1]) >> ((shift + bits) & 63)) {
                at = node->word[2];
                continue;
            }
            const __u32 slot = high >> shift & ((1U << bits) - 1);
            if (ids || header & SET_TREE_TABLE) {
                at = set_u32_at(map, base, first * 16 + slot);
                continue;
            }
            const struct set_line *bucket = set_line_at(map, base + first + slot);
            if (!bucket)
                return 0;
            const __u64 said = bucket->word[0];
            if (said & SET_TREE_BUCKET_MORE) {
                at = said & SET_TREE_MASK;
                continue;
            }
            const __u32 cell_bits = header >> SET_TREE_CELL & 15;
            const __u64 cell = high >> ((shift - cell_bits) & 63) & ((1U << cell_bits) - 1);
            const __u64 marks = set_marked_cells(bucket, cell);
            if (marks)
                return set_in_records(map, base * 4 + (said & SET_TREE_MASK), marks, hi, lo);
            return set_turned(bucket, cell);
        }
        __u64 above = 0;                // keys greater than the address
        if (header & SET_TREE_WIDE) {
            const struct set_line *second = set_line_at(map, base + at + 1);
            if (!second)
                return 0;
            SET_UNROLLED
            for (int k = 1; k < 8; k++)
                above += set_sign(high - node->word[k] - set_sign(low - second->word[k]));
        } else {
            SET_UNROLLED
            for (int k = 1; k < 8; k++)
                above += set_sign(high - node->word[k]);
        }
        const __u32 slot = 7 - above;
        if (header & SET_TREE_LEAF)
            return ids ? set_u32_at(map, base, first * 8 + slot) : header >> (slot & 7) & 1;
        at = first + (slot << (header >> 32 & 1));
    }
    return 0;
}

__noinline __u32 set_tree(__u32 base, __u32 ids, __u64 hi, __u64 lo)
{
    return set_tree_in(&set_lines, base, ids, hi, lo);
}

// The element of the set that is the longest prefix of the address: its id (1 in a set without ids), or 0.
// `ipv6` is 0 or 1; the address is left aligned: hi = (u64)address << 32, lo = 0 for IPv4.  Bit n of `kinds` says
// that kind n is in use: of a constant the verifier leaves only these lookups in the program.
static __always_inline __u32 set_lookup(const struct set_table *set, __u32 kinds, __u32 ipv6, __u64 hi, __u64 lo)
{
    const struct set_part *part = &set->part[ipv6 & 1];
    const __u32 kind = part->kind, base = part->base;
    if (kinds & 1 << SET_LINEAR && kind == SET_LINEAR)
        return set_linear(base, part->aux, hi >> 32);
    if (kinds & 1 << SET_BLOCKS && kind == SET_BLOCKS)
        return set_blocks(base, part->aux, hi >> 32);
    if (kinds & 1 << SET_TREE && kind == SET_TREE)
        return set_tree(base, part->aux, hi, lo);
    if (kinds & 1 << SET_SLOTS && kind == SET_SLOTS)
        return set_slots(base, hi >> 32);
    return 0;
}

// The run-time element of set `number` that covers the address and has not expired at `now` (ns of the
// coarse clock): its id | prefix length << 32, or 0.  An expired element uncovers the wider one behind it.
__noinline __u64 set_extra_find(__u32 number, __u32 ipv6, __u64 hi, __u64 lo, __u64 now)
{
    void *map = bpf_map_lookup_elem(&set_extra, &number);
    if (!map)
        return 0;
    const struct set_extra_header *header = (const struct set_extra_header *)set_line_at(map, 0);
    if (!header)
        return 0;
    const struct set_part *part = &header->part[ipv6 & 1];
    if (part->kind != SET_TREE)
        return 0;
    __u32 number_of = set_tree_in(map, part->base, 1, hi, lo);  // always with ids
    SET_ROLLED
    for (int i = 0; i < SET_EXTRA_DEPTH && number_of; i++) {
        const struct set_extra_element *element = (const struct set_extra_element *)set_line_at(map, number_of);
        if (!element)
            return 0;
        if (!element->expiry || now < element->expiry)
            return element->id | (__u64)element->length << 32;
        number_of = element->parent;
    }
    return 0;
}

// Has the set run-time elements?  Asked before the clock is read: nearly free for the others.
static __always_inline int set_has_extra(const struct set_table *set)
{
    __u32 number = set->number;
    const __u32 *count = (const __u32 *)bpf_map_lookup_elem(&set_extra_counts, &number);
    return count && *count;
}

static __always_inline __u32 set_extra_lookup(const struct set_table *set, __u32 ipv6, __u64 hi, __u64 lo, __u64 now)
{
    return set_has_extra(set) ? (__u32)set_extra_find(set->number, ipv6, hi, lo, now) : 0;
}

// Of a run-time element (as set_extra_find() returns it) and an element of the file that both cover an address: the id of
// the longer prefix, of the file's where they are equal (then both have the same).
static __always_inline __u32 set_more_specific(__u64 run_time, __u32 file)
{
    if (!file)
        return run_time;
    const struct set_hit_owner *owner = (const struct set_hit_owner *)bpf_map_lookup_elem(&set_hit_owners, &file);
    return owner && owner->length >= run_time >> 32 ? file : (__u32)run_time;
}

// Counts a hit of element `id` on this CPU's lane of `capacity` counters.  An id beyond them has no counter.
static __always_inline void set_count_hit(__u32 capacity, __u32 id)
{
    if (id >= capacity)
        return;
    __u32 at = bpf_get_smp_processor_id() * capacity + id;
    __u64 *hits = (__u64 *)bpf_map_lookup_elem(&set_hits, &at);
    if (hits)
        ++*hits;
}

#endif
