#include "features/sets/table.h"

#include <algorithm>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

// Below this a tree of a few lines is as fast as an entry for each /16, and does not take 256 KiB.
constexpr std::size_t few_intervals = 512;

Address last_of(const Element& element)
{
    const auto start = Address{element.hi} << 64 | element.lo;
    return element.length == 0 ? ~Address{0} : start + ((Address{1} << (128 - element.length)) - 1);
}

// The prefixes that no other one of the set covers: without ids the rest change nothing.
std::vector<Element> widest(std::span<const Element> sorted, std::size_t limit)
{
    std::vector<Element> kept;
    Address last = 0;
    for (const auto& element : sorted) {
        const auto start = Address{element.hi} << 64 | element.lo;
        if (!kept.empty() && start <= last)
            continue;
        if (kept.size() == limit)
            return {};
        kept.push_back(element);
        last = last_of(element);
    }
    return kept;
}

}  // namespace

void sort_elements(std::span<Element> elements)
{
    const auto before = [](const Element& a, const Element& b) {
        if (a.ipv6 != b.ipv6)
            return b.ipv6;
        if (a.hi != b.hi)
            return a.hi < b.hi;
        return a.lo != b.lo ? a.lo < b.lo : a.length < b.length;
    };
    if (!std::is_sorted(elements.begin(), elements.end(), before))
        std::stable_sort(elements.begin(), elements.end(), before);
}

std::vector<Interval> flatten(std::span<const Element> sorted, Ids ids)
{
    struct Open {
        Address last;
        std::uint32_t id;
    };
    std::vector<Interval> out{{0, 0, 0}};
    out.reserve(2 * sorted.size() + 1);
    const auto cut = [&](Address start, std::uint32_t id) {
        if (out.back().start() == start) {
            out.back().id = id;
            if (out.size() > 1 && out[out.size() - 2].id == id)
                out.pop_back();
        } else if (out.back().id != id) {
            out.push_back({static_cast<std::uint64_t>(start >> 64), static_cast<std::uint64_t>(start), id});
        }
    };
    std::vector<Open> open;  // the prefixes that cover the current address, widest first
    const auto close_before = [&](Address start, bool all) {
        while (!open.empty() && (all || open.back().last < start)) {
            const auto last = open.back().last;
            open.pop_back();
            if (last != ~Address{0})
                cut(last + 1, open.empty() ? 0 : open.back().id);
        }
    };
    for (const auto& element : sorted) {
        const auto start = Address{element.hi} << 64 | element.lo;
        close_before(start, false);
        const auto id = ids == Ids::yes ? element.id : 1;
        open.push_back({last_of(element), id});
        cut(start, id);
    }
    close_before(0, true);
    return out;
}

Table build_linear(std::span<const Element> sorted)
{
    Table table;
    table.part.kind = SET_LINEAR;
    table.part.lines = table.part.aux = sorted.size() > 8 ? 2 : 1;
    table.lines.resize(table.part.lines);
    for (std::size_t place = 0; place < table.lines.size() * 8; ++place) {
        const auto& element = sorted[std::min(place, sorted.size() - 1)];
        const auto mask = element.length == 0 ? 0U : ~0U << (32 - element.length);
        auto* pair = &table.lines[place / 8].word[place % 8 / 2 * 2];
        const auto shift = place % 2 * 32;
        pair[0] |= element.hi >> 32 << shift;
        pair[1] |= std::uint64_t{mask} << shift;
    }
    return table;
}

Table build_table(std::span<const Element> sorted, Ids ids)
{
    if (sorted.empty())
        return {};
    const bool ipv6 = sorted.front().ipv6;
    if (!ipv6 && ids == Ids::no) {
        if (const auto few = widest(sorted, SET_LINEAR_MAX); !few.empty())
            return build_linear(few);
    }
    const auto intervals = flatten(sorted, ids);
    if (!ipv6 && intervals.size() > few_intervals) {
        if (ids == Ids::yes)
            return build_slots(intervals);
        if (auto blocks = build_blocks(intervals))
            return std::move(*blocks);
    }
    return build_tree(intervals, ids);
}

SetTables build_set(std::span<Element> elements, Ids ids)
{
    sort_elements(elements);
    const auto split = std::partition_point(elements.begin(), elements.end(), [](const Element& e) { return !e.ipv6; });
    return {{build_table({elements.begin(), split}, ids), build_table({split, elements.end()}, ids)}};
}

std::string_view kind_name(std::uint32_t kind)
{
    switch (kind) {
    case SET_EMPTY: return "empty";
    case SET_LINEAR: return "linear";
    case SET_BLOCKS: return "blocks";
    case SET_SLOTS: return "slots";
    case SET_TREE: return "tree";
    }
    return "unknown";
}

}  // namespace penstock::sets
