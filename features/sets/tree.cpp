// The tree of intervals (tables.h: tree).  Where the content is many intervals that spread over a block of
// addresses, buckets or a table index the block directly; the rest, and whatever does not spread, is a B-tree
// whose nodes are full.
#include <algorithm>
#include <bit>

#include "features/sets/buckets.h"

namespace penstock::sets {

namespace {

constexpr std::uint64_t word_mask = ~0ULL >> 1;
constexpr std::size_t table_from = 32;      // fewer intervals are a B-tree of two levels
constexpr std::size_t slot_intervals = 4;   // wanted in a slot's leaf of up to eight
constexpr unsigned max_table_bits = 20;
constexpr int max_tables = 3;               // above each other

// The 126 bits below a quarter's two.
std::uint64_t high_word(Address address)
{
    return static_cast<std::uint64_t>(address >> 63) & word_mask;
}

std::uint64_t low_word(Address address)
{
    return static_cast<std::uint64_t>(address) & word_mask;
}

class TreeBuilder {
public:
    TreeBuilder(std::span<const Interval> intervals, Ids ids) : intervals_(intervals), with_ids_(ids == Ids::yes) {}

    Table build()
    {
        table_.part.kind = SET_TREE;
        table_.part.aux = with_ids_;
        table_.lines.reserve(8 + intervals_.size() / 4 * (1 + with_ids_));
        table_.lines.resize(8);
        auto rest = intervals_;
        for (std::uint32_t quarter = 0; quarter < 4; ++quarter) {
            const auto from = Address{quarter} << 126;
            build_range(2 * quarter, Range{from, 126}, take(rest, from, from + (Address{1} << 126)), max_tables);
        }
        table_.part.lines = static_cast<std::uint32_t>(table_.lines.size());
        return std::move(table_);
    }

private:
    using Intervals = std::span<const Interval>;

    std::uint32_t allocate(std::size_t lines)
    {
        const auto at = table_.lines.size();
        table_.lines.resize(at + lines);
        return static_cast<std::uint32_t>(at);
    }

    // Builds the node at line `at` (and the next line, if it is wide) for the intervals of a range.
    void build_range(std::uint32_t at, const Range& range, Intervals here, int tables)
    {
        if (here.size() < table_from || tables == 0)
            return build_node(at, here);
        // The smallest block that holds all starts.
        Range block = range;
        const auto differ = here[1].start() ^ here.back().start();
        block.size = differ >> 64 ? 128 - static_cast<unsigned>(std::countl_zero(static_cast<std::uint64_t>(differ >> 64)))
                                  : 64 - static_cast<unsigned>(std::countl_zero(static_cast<std::uint64_t>(differ)));
        block.from = here[1].start() >> block.size << block.size;
        const auto wanted = static_cast<unsigned>(std::bit_width(here.size() / slot_intervals));
        const auto bits = std::min({wanted, max_table_bits, block.size > 63 ? block.size - 63 : 0});
        const auto shape = with_ids_ ? std::nullopt : bucket_shape(block, here);
        if (!shape && (bits < 3 || !spreads(block, bits, here)))
            return build_node(at, here);
        if (shape)
            build_buckets(at, block, *shape, here, tables);
        else
            build_table(at, block, bits, here, tables);
        table_.lines[at].word[1] = high_word(block.from);
        if (block.size == range.size)
            return;
        // What lies before and behind the block.
        std::vector<Interval> around{here[0]};
        if (block.end() != range.end())
            around.push_back({static_cast<std::uint64_t>(block.end() >> 64), static_cast<std::uint64_t>(block.end()), here.back().id});
        const auto other = allocate(1);
        build_node(other, around);
        table_.lines[at].word[2] = other;
    }

    // Does a table of 2^bits slots leave at most a quarter of the intervals in any slot?
    static bool spreads(const Range& block, unsigned bits, Intervals here)
    {
        const auto shift = block.size - bits;
        std::size_t run = 0;
        Address slot = 0;
        for (const auto& interval : here.subspan(1)) {
            const auto next = (interval.start() - block.from) >> shift;
            run = next == slot ? run + 1 : 1;
            slot = next;
            if (run > here.size() / 4)
                return false;
        }
        return true;
    }

    void build_table(std::uint32_t at, const Range& block, unsigned bits, Intervals here, int tables)
    {
        const auto slots = std::size_t{1} << bits;
        const auto first = allocate((slots + 15) / 16);
        const auto size = block.size - bits;
        table_.lines[at] = {};
        table_.lines[at].word[0] = SET_TREE_TABLE | first | std::uint64_t{size - 63} << SET_TREE_SHIFT | std::uint64_t{bits} << SET_TREE_BITS;
        std::uint32_t shared = 0, shared_id = 0;  // the leaf of the last slot that was one interval
        auto rest = here;
        for (std::size_t slot = 0; slot < slots; ++slot) {
            const Range range{block.from + (Address{slot} << size), size};
            const auto inside = take(rest, range.from, range.end());
            std::uint32_t node;
            if (inside.size() == 1 && shared != 0 && shared_id == inside[0].id) {
                node = shared;
            } else {
                node = allocate(1);
                build_range(node, range, inside, tables - 1);
                if (inside.size() == 1) {
                    shared = node;
                    shared_id = inside[0].id;
                }
            }
            reinterpret_cast<std::uint32_t*>(table_.lines.data() + first)[slot] = node;
        }
    }

    void build_buckets(std::uint32_t at, const Range& block, const BucketShape& shape, Intervals here, int tables)
    {
        const auto count = std::size_t{1} << shape.bits;
        const auto first = allocate(count);
        const auto size = block.size - shape.bits;
        table_.lines[at] = {};
        table_.lines[at].word[0] = SET_TREE_BUCKETS | first | std::uint64_t{size - 63} << SET_TREE_SHIFT |
                                   std::uint64_t{shape.bits} << SET_TREE_BITS | std::uint64_t{shape.cell_bits} << SET_TREE_CELL;
        std::vector<Record> records;
        std::vector<std::size_t> places(count);     // of each bucket's first record
        std::vector<std::pair<std::size_t, Intervals>> more;
        auto rest = here;
        for (std::size_t slot = 0; slot < count; ++slot) {
            const Range part{block.from + (Address{slot} << size), size};
            const auto inside = take(rest, part.from, part.end());
            places[slot] = records.size();
            if (!fill_bucket(part, shape.cell_bits, inside, table_.lines[first + slot], records))
                more.emplace_back(slot, inside);
        }
        const auto records_at = 4 * allocate((records.size() + 3) / 4);
        std::copy(records.begin(), records.end(), reinterpret_cast<Record*>(table_.lines.data() + records_at / 4));
        for (std::size_t slot = 0; slot < count; ++slot)
            table_.lines[first + slot].word[0] |= records_at + places[slot];
        for (const auto& [slot, inside] : more) {
            const auto node = allocate(1);
            build_range(node, {block.from + (Address{slot} << size), size}, inside, tables - 1);
            table_.lines[first + slot].word[0] = SET_TREE_BUCKET_MORE | node;
        }
    }

    static set_line node_line()
    {
        set_line line{};
        std::fill(line.word + 1, line.word + 8, SET_TREE_NO_KEY);
        return line;
    }

    // A B-tree node: its keys are the starts of all children's first intervals but the first's.
    void build_node(std::uint32_t at, Intervals here)
    {
        std::size_t child_size = 1;  // intervals below each child
        while (child_size * 8 < here.size())
            child_size *= 8;
        auto line = node_line();
        set_line lows{};
        bool wide = false;
        for (std::size_t k = 1; k < 8 && k * child_size < here.size(); ++k) {
            const auto start = here[k * child_size].start();
            line.word[k] = high_word(start);
            lows.word[k] = low_word(start);
            wide |= lows.word[k] != 0;
        }
        if (wide) {
            line.word[0] |= SET_TREE_WIDE;
            put_second(at, lows);
        }
        if (child_size == 1) {
            line.word[0] |= SET_TREE_LEAF | results(here);
        } else {
            const auto count = (here.size() + child_size - 1) / child_size;
            const auto first = allocate(2 * count);
            line.word[0] |= SET_TREE_PAIRS | first;
            for (std::size_t child = 0; child < count; ++child) {
                const auto begin = child * child_size;
                build_node(first + static_cast<std::uint32_t>(2 * child), here.subspan(begin, std::min(child_size, here.size() - begin)));
            }
        }
        table_.lines[at] = line;
    }

    // The second line of a node: free already, or the next to be allocated.
    void put_second(std::uint32_t at, const set_line& lows)
    {
        if (at + 1 == table_.lines.size())
            allocate(1);
        table_.lines[at + 1] = lows;
    }

    std::uint64_t results(Intervals leaf)
    {
        if (!with_ids_) {
            std::uint64_t bits = 0;
            for (std::size_t i = 0; i < leaf.size(); ++i)
                bits |= std::uint64_t{leaf[i].id != 0} << i;
            return bits;
        }
        // Two leaves share a line, near both of them.
        if (free_half_ == 0)
            free_half_ = 2 * allocate(1);
        const auto half = free_half_;
        free_half_ = half % 2 == 0 ? half + 1 : 0;
        auto* ids = reinterpret_cast<std::uint32_t*>(table_.lines.data()) + std::size_t{half} * 8;
        for (std::size_t i = 0; i < leaf.size(); ++i)
            ids[i] = leaf[i].id;
        return half;
    }

    std::span<const Interval> intervals_;
    bool with_ids_;
    Table table_;
    std::uint32_t free_half_ = 0;
};

}  // namespace

Table build_tree(std::span<const Interval> intervals, Ids ids)
{
    return TreeBuilder(intervals, ids).build();
}

}  // namespace penstock::sets
