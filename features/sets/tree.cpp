// The tree of intervals (tables.h: tree).  Every node but the last of each level is full.
#include <algorithm>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

constexpr std::uint64_t word_mask = ~0ULL >> 1;

class TreeBuilder {
public:
    TreeBuilder(std::span<const Interval> intervals, Ids ids) : intervals_(intervals), with_ids_(ids == Ids::yes) {}

    Table build()
    {
        table_.part.kind = SET_TREE;
        table_.lines.reserve(4 + intervals_.size() / 6 * (1 + with_ids_));
        table_.lines.resize(4);
        for (std::uint32_t quarter = 0; quarter < 4; ++quarter)
            build_quarter(quarter);
        if (with_ids_) {
            table_.part.aux = static_cast<std::uint32_t>(table_.lines.size());
            const auto lines = (ids_.size() + 15) / 16;
            table_.lines.resize(table_.lines.size() + lines);
            std::copy(ids_.begin(), ids_.end(), reinterpret_cast<std::uint32_t*>(table_.lines.data() + table_.part.aux));
        }
        table_.part.lines = static_cast<std::uint32_t>(table_.lines.size());
        return std::move(table_);
    }

private:
    // The interval that a quarter begins in may start before it.
    void build_quarter(std::uint32_t quarter)
    {
        const auto from = Address{quarter} << 126;
        const auto after = [](Address start, const Interval& interval) { return start < interval.start(); };
        const auto first = std::upper_bound(intervals_.begin(), intervals_.end(), from, after) - 1;
        const auto end = quarter == 3 ? intervals_.end()
                                      : std::lower_bound(first, intervals_.end(), Address{quarter + 1} << 126,
                                                         [](const Interval& i, Address start) { return i.start() < start; });
        std::size_t child_size = 1;  // intervals below each child of the root
        while (child_size * 8 < static_cast<std::size_t>(end - first))
            child_size *= 8;
        build_node(quarter, {first, end}, child_size);
    }

    // `here` are the intervals below the node: keys are the starts of all children's first but the first's.
    void build_node(std::uint32_t at, std::span<const Interval> here, std::size_t child_size)
    {
        const auto children = (here.size() + child_size - 1) / child_size;
        const auto key = [&](std::size_t child) { return here[child * child_size]; };
        set_line line{};
        set_line lows{};
        bool wide = false;
        for (std::size_t k = 1; k < 8; ++k) {
            line.word[k] = SET_TREE_NO_KEY;
            if (k < children) {
                line.word[k] = (key(k).hi << 1 & word_mask) | key(k).lo >> 63;
                lows.word[k] = key(k).lo & word_mask;
                wide |= lows.word[k] != 0;
            }
        }
        if (wide) {
            line.word[0] |= std::uint64_t{table_.lines.size()} << SET_TREE_NODE_BITS;
            table_.lines.push_back(lows);
        }
        if (child_size == 1) {
            line.word[0] |= SET_TREE_LEAF | results(here);
            table_.lines[at] = line;
            return;
        }
        const auto first = static_cast<std::uint32_t>(table_.lines.size());
        line.word[0] |= first;
        table_.lines[at] = line;
        table_.lines.resize(first + children);
        for (std::size_t child = 0; child < children; ++child) {
            const auto begin = child * child_size;
            build_node(first + static_cast<std::uint32_t>(child),
                       here.subspan(begin, std::min(child_size, here.size() - begin)), child_size / 8);
        }
    }

    std::uint64_t results(std::span<const Interval> leaf)
    {
        if (!with_ids_) {
            std::uint64_t bits = 0;
            for (std::size_t i = 0; i < leaf.size(); ++i)
                bits |= std::uint64_t{leaf[i].id != 0} << i;
            return bits;
        }
        const auto place = ids_.size() / 8;
        for (std::size_t i = 0; i < 8; ++i)
            ids_.push_back(i < leaf.size() ? leaf[i].id : 0);
        return place;
    }

    std::span<const Interval> intervals_;
    bool with_ids_;
    Table table_;
    std::vector<std::uint32_t> ids_;
};

}  // namespace

Table build_tree(std::span<const Interval> intervals, Ids ids)
{
    return TreeBuilder(intervals, ids).build();
}

}  // namespace penstock::sets
