// IPv4 without ids by /16: the kind blocks (tables.h).
#include <algorithm>
#include <cstring>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

// Addresses of the set within a /16, both ends included.
struct Range {
    std::uint32_t first, last;
};

// What one line says of a block; `ranges` ascending, within the block.
class Packed {
public:
    // False: it does not fit in.
    bool pack(std::span<const Range> ranges)
    {
        line_ = {};
        hosts_ = wholes_ = ranges_ = 0;
        return std::all_of(ranges.begin(), ranges.end(), [&](const Range& range) { return put(range); });
    }

    set_line line() const
    {
        set_line line = line_;
        // Unused places repeat the first.
        auto* bytes = reinterpret_cast<std::uint8_t*>(&line);
        for (auto i = hosts_; i < SET_BLOCK_HOSTS_MAX; ++i)
            std::memcpy(bytes + 2 * i, bytes, 2);
        for (auto i = wholes_; i < SET_BLOCK_WHOLES_MAX; ++i)
            bytes[SET_BLOCK_WHOLES_AT + i] = bytes[SET_BLOCK_WHOLES_AT];
        line.word[7] |= std::uint64_t{(hosts_ ? SET_BLOCK_HOSTS : 0U) | (wholes_ ? SET_BLOCK_WHOLES : 0U)} << 32;
        return line;
    }

private:
    bool put(const Range& range)
    {
        auto* bytes = reinterpret_cast<std::uint8_t*>(&line_);
        const auto count = range.last - range.first + 1;
        if (count == 1 && hosts_ < SET_BLOCK_HOSTS_MAX) {
            const auto host = static_cast<std::uint16_t>(range.first);
            std::memcpy(bytes + 2 * hosts_++, &host, 2);
            return true;
        }
        if (count == 256 && range.first % 256 == 0 && wholes_ < SET_BLOCK_WHOLES_MAX) {
            bytes[SET_BLOCK_WHOLES_AT + wholes_++] = static_cast<std::uint8_t>(range.first >> 8);
            return true;
        }
        constexpr std::uint32_t half = 1 << 15;
        if (count > 2 * half - 1)
            return put({range.first, half - 1}) && put({half, range.last});
        if (ranges_ == SET_BLOCK_RANGES_MAX)
            return false;
        const std::uint16_t pair[] = {static_cast<std::uint16_t>(range.first), static_cast<std::uint16_t>(count)};
        std::memcpy(bytes + SET_BLOCK_RANGES_AT + sizeof pair * ranges_++, pair, sizeof pair);
        return true;
    }

    set_line line_{};
    std::uint32_t hosts_ = 0, wholes_ = 0, ranges_ = 0;
};

class BlocksBuilder {
public:
    Table build(std::span<const Interval> intervals)
    {
        table_.part.kind = SET_BLOCKS;
        table_.lines.reserve(SET_BLOCKS_LINES + intervals.size() / 16);
        table_.lines.resize(SET_BLOCKS_LINES);
        const auto start = [&](std::size_t i) { return static_cast<std::uint32_t>(intervals[i].hi >> 32); };
        std::vector<Range> ranges;
        std::size_t at = 0;  // the interval that the block begins in
        for (std::uint32_t number = 0; number < SET_BLOCKS_LINES; ++number) {
            const auto from = number << 16, to = from | 0xffff;
            ranges.clear();
            for (auto i = at; i < intervals.size() && (i == at || start(i) <= to); at = i++) {
                const auto last = i + 1 < intervals.size() ? std::min(start(i + 1) - 1, to) : to;
                if (intervals[i].id != 0 && last >= from)
                    ranges.push_back({std::max(start(i), from) & 0xffff, last & 0xffff});
            }
            put(number, ranges);
        }
        table_.part.lines = static_cast<std::uint32_t>(table_.lines.size());
        return std::move(table_);
    }

private:
    using Ranges = std::span<const Range>;

    void put(std::uint32_t number, Ranges ranges)
    {
        if (packed_.pack(ranges)) {
            table_.lines[number] = packed_.line();
            return;
        }
        // The division that takes the fewest lines.
        unsigned bits = SET_BLOCK_ALL_BITS;
        std::size_t least = std::size_t{1} << bits;
        for (unsigned tried = 1; tried < SET_BLOCK_ALL_BITS; ++tried) {
            std::size_t lines = std::size_t{1} << tried;
            each(tried, ranges, [&](std::uint32_t, Ranges here) {
                if (!packed_.pack(here))
                    lines += std::size_t{1} << (SET_BLOCK_ALL_BITS - tried);
            });
            if (lines < least) {
                least = lines;
                bits = tried;
            }
        }
        const auto first = allocate(std::size_t{1} << bits);
        refer(number, first, bits);
        if (bits == SET_BLOCK_ALL_BITS)
            return mark(first, ranges);
        each(bits, ranges, [&](std::uint32_t part, Ranges here) {
            if (packed_.pack(here)) {
                table_.lines[first + part] = packed_.line();
                return;
            }
            const auto before = part << (SET_BLOCK_ALL_BITS - bits);  // lines of bits that the parts before would take
            const auto all = allocate(std::size_t{1} << (SET_BLOCK_ALL_BITS - bits)) - before;
            refer(first + part, all, SET_BLOCK_ALL_BITS);
            mark(all, here);
        });
    }

    // Calls f(part, its ranges) for each of the 2^bits parts of a block.
    template <class F>
    void each(unsigned bits, Ranges ranges, F f)
    {
        const auto size = 0x10000U >> bits;
        std::size_t at = 0;
        for (std::uint32_t part = 0; part < 1U << bits; ++part) {
            const auto from = part * size, to = from + size - 1;
            while (at < ranges.size() && ranges[at].last < from)
                ++at;
            part_.clear();
            for (auto i = at; i < ranges.size() && ranges[i].first <= to; ++i)
                part_.push_back({std::max(ranges[i].first, from), std::min(ranges[i].last, to)});
            f(part, Ranges(part_));
        }
    }

    void refer(std::uint32_t number, std::uint32_t first, unsigned bits)
    {
        table_.lines[number].word[7] = std::uint64_t{SET_BLOCK_MORE | bits << SET_BLOCK_BITS | first} << 32;
    }

    void mark(std::uint32_t first, Ranges ranges)
    {
        for (const auto& range : ranges)
            for (auto address = range.first; address <= range.last; ++address)
                table_.lines[first + (address >> 9)].word[address >> 6 & 7] |= 1ULL << (address & 63);
    }

    std::uint32_t allocate(std::size_t lines)
    {
        const auto at = table_.lines.size();
        table_.lines.resize(at + lines);
        return static_cast<std::uint32_t>(at);
    }

    Table table_;
    Packed packed_;
    std::vector<Range> part_;
};

}  // namespace

Table build_blocks(std::span<const Interval> intervals)
{
    return BlocksBuilder().build(intervals);
}

}  // namespace penstock::sets
