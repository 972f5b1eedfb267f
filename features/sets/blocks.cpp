// IPv4 without ids by /16: the kind blocks (tables.h).
#include <algorithm>
#include <array>
#include <cstring>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

// Addresses of the set within a /16, both ends included.
struct Range {
    std::uint32_t first, last;
};
using Ranges = std::span<const Range>;

constexpr std::uint32_t half_bits = 15;     // of an address within half a /16

// What lies in a part of a /16, cut into prefixes: lanes of the lower half, then of the upper.
struct Lanes {
    std::array<std::uint16_t, SET_BLOCK_LANES> lane{};
    std::uint32_t lower = 0, count = 0;

    std::uint32_t upper() const { return count - lower; }

    // Ranges ascending.  False: they are too many for one line.
    bool cut(Ranges ranges)
    {
        lower = count = 0;
        for (auto [first, last] : ranges)
            while (first <= last) {
                std::uint32_t size = 0;
                while (size < half_bits && !(first >> size & 1) && first + (2U << size) <= last + 1)
                    ++size;
                if (count == SET_BLOCK_LANES)
                    return false;
                lane[count++] = static_cast<std::uint16_t>(first << 1 | 1U << size);
                lower += first >> half_bits == 0;
                first += 1U << size;
            }
        return lower <= SET_BLOCK_HALF_MAX && upper() <= SET_BLOCK_HALF_MAX;
    }
};

// Fills lines with runs of lanes; pairs of lanes, since an entry has no bit for an odd one.
class Lines {
public:
    struct Place {
        std::uint32_t line, first;
    };

    // Runs are to be added from the longest on.  The fullest line that has room takes them.
    Place add(std::span<const std::uint16_t> run)
    {
        const auto size = (static_cast<std::uint32_t>(run.size()) + 1) & ~1U;
        auto free = size;
        while (free < SET_BLOCK_LANES && with_free_[free].empty())
            ++free;
        if (with_free_[free].empty()) {
            with_free_[free].push_back(static_cast<std::uint32_t>(lines_.size()));
            set_line line;
            std::fill(line.word, line.word + 8, SET_BLOCK_NO_LANES);
            lines_.push_back(line);
        }
        const Place place{with_free_[free].back(), SET_BLOCK_LANES - free};
        with_free_[free].pop_back();
        with_free_[free - size].push_back(place.line);
        for (std::uint32_t i = 0; i < run.size(); ++i) {
            const auto at = place.first + i;
            std::memcpy(reinterpret_cast<char*>(&lines_[place.line].word[at % 8]) + 2 * (at / 8), &run[i], 2);
        }
        return place;
    }
    std::span<const set_line> lines() const { return lines_; }

private:
    std::vector<set_line> lines_;
    std::array<std::vector<std::uint32_t>, SET_BLOCK_LANES + 1> with_free_;     // lines, by lanes that are free
};

class BlocksBuilder {
public:
    std::optional<Table> build(std::span<const Interval> intervals)
    {
        table_.part.kind = SET_BLOCKS;
        table_.lines.resize(SET_BLOCKS_LINES);
        const auto start = [&](std::size_t i) { return static_cast<std::uint32_t>(intervals[i].hi >> 32); };
        std::vector<Range> ranges;
        std::size_t at = 0;  // the interval that the block begins in
        for (std::uint32_t number = 0; number < 1U << 16; ++number) {
            const auto from = number << 16, to = from | 0xffff;
            ranges.clear();
            for (auto i = at; i < intervals.size() && (i == at || start(i) <= to); at = i++) {
                const auto last = i + 1 < intervals.size() ? std::min(start(i + 1) - 1, to) : to;
                if (intervals[i].id != 0 && last >= from)
                    ranges.push_back({std::max(start(i), from) & 0xffff, last & 0xffff});
            }
            put(number, ranges);
        }
        if (!put_lanes())
            return {};
        table_.part.lines = static_cast<std::uint32_t>(table_.lines.size());
        return std::move(table_);
    }

private:
    // A run of lanes that has no place yet.
    struct Run {
        std::uint32_t entry, from, lower, count;
    };

    void put(std::uint32_t entry, Ranges ranges)
    {
        if (lanes_.cut(ranges))
            return refer_lanes(entry);
        // The division that takes the least room, counted in lanes.
        unsigned bits = SET_BLOCK_ALL_BITS;
        auto least = std::size_t{SET_BLOCK_LANES} << bits;
        for (unsigned tried = 1; tried < SET_BLOCK_ALL_BITS; ++tried) {
            auto room = index_lines(tried) * SET_BLOCK_LANES;
            each(tried, ranges, [&](std::uint32_t, Ranges here) {
                room += lanes_.cut(here) ? lanes_.count : std::size_t{SET_BLOCK_LANES} << (SET_BLOCK_ALL_BITS - tried);
            });
            if (room < least) {
                least = room;
                bits = tried;
            }
        }
        if (bits == SET_BLOCK_ALL_BITS) {
            const auto first = allocate(std::size_t{1} << bits);
            refer(entry, first, bits);
            return mark(first, ranges);
        }
        const auto index = allocate(index_lines(bits));
        refer(entry, index, bits);
        each(bits, ranges, [&](std::uint32_t part, Ranges here) {
            if (lanes_.cut(here))
                return refer_lanes(16 * index + part);
            const auto before = part << (SET_BLOCK_ALL_BITS - bits);  // lines of bits that the parts before would take
            const auto all = allocate(std::size_t{1} << (SET_BLOCK_ALL_BITS - bits)) - before;
            refer(16 * index + part, all, SET_BLOCK_ALL_BITS);
            mark(all, here);
        });
    }

    static std::size_t index_lines(unsigned bits) { return ((std::size_t{1} << bits) + 15) / 16; }

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

    std::uint32_t& entry(std::uint32_t number) { return reinterpret_cast<std::uint32_t*>(table_.lines.data())[number]; }

    void refer(std::uint32_t number, std::uint32_t first, unsigned bits)
    {
        entry(number) = std::uint32_t{SET_BLOCK_MORE} << SET_BLOCK_FORM | bits << SET_BLOCK_BITS | first;
    }

    // The entry for lanes_: nothing, a word, or lanes to which put_lanes() gives a place.
    void refer_lanes(std::uint32_t number)
    {
        if (lanes_.count > 4) {
            runs_.push_back({number, static_cast<std::uint32_t>(pool_.size()), lanes_.lower, lanes_.count});
            pool_.insert(pool_.end(), lanes_.lane.begin(), lanes_.lane.begin() + lanes_.count);
        } else if (lanes_.count > 0) {
            // Unused lanes repeat the last.
            const auto lower = lanes_.upper() == 0 ? 4 : lanes_.lower;
            std::fill(lanes_.lane.begin() + lanes_.count, lanes_.lane.begin() + 4, lanes_.lane[lanes_.count - 1]);
            std::uint64_t word;
            std::memcpy(&word, lanes_.lane.data(), sizeof word);
            if (words_.empty() || words_.back() != word || lower != last_lower_)  // a wide prefix is many blocks that are the same
                words_.push_back(word);
            last_lower_ = lower;
            const auto at = static_cast<std::uint32_t>(words_.size() - 1);
            entry(number) = std::uint32_t{SET_BLOCK_WORD} << SET_BLOCK_FORM | lower << SET_BLOCK_WORD_LOWER | at % 8 << SET_BLOCK_WORD_AT | at / 8;
        }
    }

    void mark(std::uint32_t first, Ranges ranges)
    {
        for (const auto& range : ranges)
            for (auto address = range.first; address <= range.last; ++address)
                table_.lines[first + (address >> 9)].word[address >> 6 & 7] |= 1ULL << (address & 63);
    }

    // Behind all else: the words, then the lines of lanes.  False: entries cannot tell so many.
    bool put_lanes()
    {
        std::ranges::stable_sort(runs_, std::greater(), &Run::count);
        const auto first = static_cast<std::uint32_t>((words_.size() + 7) / 8);
        Lines lines;
        for (const auto& run : runs_) {
            const auto place = lines.add(std::span(pool_).subspan(run.from, run.count));
            entry(run.entry) = (run.count - run.lower) << SET_BLOCK_UPPER | run.lower << SET_BLOCK_LOWER | place.first / 2 << SET_BLOCK_FIRST | (first + place.line);
        }
        if (first + lines.lines().size() > SET_BLOCK_LINES_MAX)
            return false;
        table_.part.aux = allocate(first + lines.lines().size());
        auto* to = table_.lines.data() + table_.part.aux;
        if (!words_.empty())
            std::memcpy(static_cast<void*>(to), words_.data(), words_.size() * sizeof words_[0]);
        std::ranges::copy(lines.lines(), to + first);
        return true;
    }

    std::uint32_t allocate(std::size_t lines)
    {
        const auto at = table_.lines.size();
        table_.lines.resize(at + lines);
        return static_cast<std::uint32_t>(at);
    }

    Table table_;
    Lanes lanes_;
    std::vector<Range> part_;
    std::vector<std::uint64_t> words_;
    std::uint32_t last_lower_ = 0;  // of the last word
    std::vector<Run> runs_;
    std::vector<std::uint16_t> pool_;   // the lanes of all runs
};

}  // namespace

std::optional<Table> build_blocks(std::span<const Interval> intervals)
{
    return BlocksBuilder().build(intervals);
}

}  // namespace penstock::sets
