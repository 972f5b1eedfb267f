#include "features/sets/buckets.h"

#include <algorithm>
#include <bit>

namespace penstock::sets {

namespace {

constexpr std::size_t bucket_prefixes = 16;     // at most on average, of up to SET_TREE_CELLS_MAX
constexpr unsigned max_bucket_bits = 20;
constexpr unsigned least_cell_bits = 5;

// Calls f(first, end) for each interval of the set, offsets in the part; false as soon as f is.
template <class F>
bool each_inside(const Range& part, std::span<const Interval> inside, F f)
{
    const auto size = Address{1} << part.size;
    for (std::size_t i = 0; i < inside.size(); ++i) {
        if (inside[i].id == 0)
            continue;
        const auto first = inside[i].start() > part.from ? inside[i].start() - part.from : 0;
        const auto end = std::min(i + 1 < inside.size() ? inside[i + 1].start() - part.from : size, size);
        if (first < end && !f(first, end))  // the first interval may end where the part begins
            return false;
    }
    return true;
}

class BucketBuilder {
public:
    BucketBuilder(const Range& part, unsigned cell_bits, set_line& line, std::vector<Record>& records)
        : part_(part), cell_size_(part.size - cell_bits), cells_(1U << cell_bits), line_(line), records_(records)
    {
        line_ = {};
        std::fill(line_.word + 1, line_.word + 8, SET_TREE_NO_CELL * 0x0001000100010001ULL);
    }

    // Whole cells turn the result, what is left at both ends is records.
    bool add(Address first, Address end)
    {
        const auto from = (first + (Address{1} << cell_size_) - 1) >> cell_size_, to = end >> cell_size_;
        if (from > to)
            return pieces(first, end);
        if (from < to && !turns(static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to)))
            return false;
        return pieces(first, from << cell_size_) && pieces(to << cell_size_, end);
    }

private:
    bool turns(std::uint32_t from, std::uint32_t to)
    {
        if (from == 0)
            line_.word[0] |= SET_TREE_BUCKET_IN;
        return (from == 0 || turn(from)) && (to == cells_ || turn(to));
    }
    bool turn(std::uint32_t cell)
    {
        if (turns_ == SET_TREE_TURNS_MAX)
            return false;
        put(1, turns_++, cell);
        return true;
    }

    // Cuts part of a cell into prefixes.
    bool pieces(Address first, Address end)
    {
        while (first < end) {
            if (lanes_ == SET_TREE_CELLS_MAX)
                return false;
            unsigned size = 0;
            while (size < cell_size_ && !(first >> size & 1) && first + (Address{2} << size) <= end)
                ++size;
            const auto record = (part_.from + first) << 1 | Address{1} << size;
            records_.push_back({static_cast<std::uint64_t>(record >> 64), static_cast<std::uint64_t>(record)});
            put(2 + lanes_ / 4, lanes_ % 4, static_cast<std::uint32_t>(first >> cell_size_));
            ++lanes_;
            first += Address{1} << size;
        }
        return true;
    }

    void put(std::uint32_t word, std::uint32_t lane, std::uint64_t cell)
    {
        line_.word[word] ^= (cell ^ SET_TREE_NO_CELL) << (16 * lane);
    }

    const Range& part_;
    unsigned cell_size_;  // as a power of two
    std::uint32_t cells_, turns_ = 0, lanes_ = 0;
    set_line& line_;
    std::vector<Record>& records_;
};

}  // namespace

std::span<const Interval> take(std::span<const Interval>& rest, Address from, Address end)
{
    std::size_t first = 0;
    while (first + 1 < rest.size() && rest[first + 1].start() <= from)
        ++first;
    std::size_t last = first + 1;
    while (last < rest.size() && (end == 0 || rest[last].start() < end))
        ++last;
    const auto here = rest.subspan(first, last - first);
    rest = rest.subspan(last - 1);
    return here;
}

bool fill_bucket(const Range& part, unsigned cell_bits, std::span<const Interval> inside, set_line& line, std::vector<Record>& records)
{
    const auto before = records.size();
    BucketBuilder bucket(part, cell_bits, line, records);
    if (each_inside(part, inside, [&](Address first, Address end) { return bucket.add(first, end); }))
        return true;
    records.resize(before);
    return false;
}

std::optional<BucketShape> bucket_shape(const Range& block, std::span<const Interval> here)
{
    // What is as wide as a cell or wider takes turns, of which a bucket has few.
    std::array<std::size_t, 129> of_size{};
    std::size_t count = 0;
    each_inside(block, here, [&](Address first, Address end) {
        const auto width = end - first;
        const auto high = static_cast<std::uint64_t>(width >> 64);
        ++of_size[high ? 127 - static_cast<unsigned>(std::countl_zero(high)) : 63 - static_cast<unsigned>(std::countl_zero(static_cast<std::uint64_t>(width)))];
        ++count;
        return true;
    });
    if (count == 0)
        return {};
    const auto bits = static_cast<unsigned>(std::bit_width((count - 1) / bucket_prefixes));
    if (bits > max_bucket_bits || block.size < 63 + bits + least_cell_bits)  // cells are bits of the high word
        return {};
    BucketShape shape{bits, std::min<unsigned>(SET_TREE_CELL_MAX, block.size - 63 - bits)};
    std::size_t wide = 0;
    for (auto size = of_size.size(); size-- > block.size - bits - shape.cell_bits;)
        wide += of_size[size];
    while (shape.cell_bits > least_cell_bits && wide > count / 16) {
        wide -= of_size[block.size - bits - shape.cell_bits];
        --shape.cell_bits;
    }
    std::size_t left_out = 0;
    set_line line;
    std::vector<Record> records;
    auto rest = here;
    for (std::size_t slot = 0; slot < std::size_t{1} << bits; ++slot) {
        const Range part{block.from + (Address{slot} << (block.size - bits)), block.size - bits};
        const auto inside = take(rest, part.from, part.end());
        if (!fill_bucket(part, shape.cell_bits, inside, line, records))
            left_out += inside.size();
        records.clear();
    }
    return left_out <= here.size() / 8 ? std::optional(shape) : std::nullopt;
}

}  // namespace penstock::sets
