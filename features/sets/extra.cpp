#include "features/sets/extra.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <tuple>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

static_assert(sizeof(set_extra_header) == sizeof(set_line) && sizeof(set_extra_element) == sizeof(set_line));

std::uint64_t end_of_life(const ExtraElement& element)
{
    return element.expiry == 0 ? std::numeric_limits<std::uint64_t>::max() : element.expiry;
}

bool covers(const Element& wide, const Element& narrow)
{
    if (wide.ipv6 != narrow.ipv6 || wide.length > narrow.length)
        return false;
    const auto differ = (Address{wide.hi} << 64 | wide.lo) ^ (Address{narrow.hi} << 64 | narrow.lo);
    return wide.length == 0 || differ >> (128 - wide.length) == 0;
}

// Number of the next wider element that lives longer, for each element 1..n; 0 for none.  One that dies
// earlier cannot be uncovered by this one, so chains are short.
std::vector<std::uint32_t> parents_of(std::span<const ExtraElement> sorted)
{
    std::vector<std::uint32_t> parents(sorted.size() + 1), open;
    for (std::uint32_t number = 1; number <= sorted.size(); ++number) {
        const auto& element = sorted[number - 1];
        while (!open.empty() && !covers(sorted[open.back() - 1].prefix, element.prefix))
            open.pop_back();
        auto parent = open.empty() ? 0 : open.back();
        while (parent != 0 && end_of_life(sorted[parent - 1]) <= end_of_life(element))
            parent = parents[parent];
        parents[number] = parent;
        open.push_back(number);
    }
    return parents;
}

void sort_and_merge(std::vector<ExtraElement>& elements)
{
    const auto key = [](const ExtraElement& e) { return std::tie(e.prefix.ipv6, e.prefix.hi, e.prefix.lo, e.prefix.length); };
    const auto before = [&](const auto& a, const auto& b) { return key(a) < key(b); };
    if (!std::is_sorted(elements.begin(), elements.end(), before))
        std::stable_sort(elements.begin(), elements.end(), before);
    // Keep the last of equal ones: seen from the end it is the first.
    const auto kept = std::unique(elements.rbegin(), elements.rend(), [&](const auto& a, const auto& b) { return key(a) == key(b); });
    elements.erase(elements.begin(), kept.base());
}

}  // namespace

ExtraTable build_extra(std::vector<ExtraElement> elements)
{
    sort_and_merge(elements);
    ExtraTable out;
    out.elements = std::move(elements);
    out.parents = parents_of(out.elements);
    out.header.count = static_cast<std::uint32_t>(out.elements.size());
    auto base = 1 + out.header.count;
    for (std::uint32_t family = 0, number = 0; family < 2; ++family) {
        std::vector<Element> numbered;
        numbered.reserve(family == 0 ? out.elements.size() : out.elements.size() - number);
        for (; number < out.elements.size() && out.elements[number].prefix.ipv6 == (family == 1); ++number) {
            numbered.push_back(out.elements[number].prefix);
            numbered.back().id = number + 1;
        }
        if (numbered.empty())
            continue;
        const auto intervals = flatten(numbered, Ids::yes);
        numbered = {};
        auto& table = out.part[family];
        table = build_tree(intervals, Ids::yes);
        table.part.base = base;
        base += table.part.lines;
        out.header.part[family] = table.part;
    }
    return out;
}

void ExtraTable::copy_to(std::span<set_line> lines) const
{
    std::memcpy(&lines[0], &header, sizeof header);
    for (std::uint32_t number = 1; number <= elements.size(); ++number) {
        const auto& from = elements[number - 1];
        set_extra_element to{};
        to.hi = from.prefix.hi;
        to.lo = from.prefix.lo;
        to.expiry = from.expiry;
        to.id = from.prefix.id;
        to.parent = parents[number];
        to.length = from.prefix.length;
        to.ipv6 = from.prefix.ipv6;
        std::memcpy(&lines[number], &to, sizeof to);
    }
    for (const auto& table : part)
        std::ranges::copy(table.lines, lines.begin() + table.part.base);
}

std::vector<set_line> ExtraTable::lines() const
{
    std::vector<set_line> out(size());
    copy_to(out);
    return out;
}

std::vector<ExtraElement> read_extra(std::span<const set_line> lines)
{
    set_extra_header header{};
    if (lines.empty())
        return {};
    std::memcpy(&header, lines.data(), sizeof header);
    if (header.count >= lines.size())
        return {};
    std::vector<ExtraElement> elements;
    elements.reserve(header.count);
    for (const auto& line : lines.subspan(1, header.count)) {
        set_extra_element from;
        std::memcpy(&from, &line, sizeof from);
        elements.push_back({{from.hi, from.lo, from.id, from.length, from.ipv6 != 0}, from.expiry});
    }
    return elements;
}

}  // namespace penstock::sets
