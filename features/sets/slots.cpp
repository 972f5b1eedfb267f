// IPv4 with ids by /24: the kind slots (tables.h).
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "features/sets/intervals.h"

namespace penstock::sets {

namespace {

// A part of one /24 that differs from its group's default.
struct Piece {
    std::uint8_t first, last;
    std::uint32_t id;
};

// The pieces of the /24s of a group, in order.
class Group {
public:
    void clear(std::uint32_t fallback)
    {
        fallback_ = fallback;
        pieces_.clear();
        cells_.clear();
    }

    // Adds first..last (offsets in the group); ascending.
    void add(std::uint32_t first, std::uint32_t last, std::uint32_t id)
    {
        if (id == fallback_)
            return;
        for (auto cell = first >> 8; cell <= last >> 8; ++cell) {
            if (cells_.empty() || cells_.back().number != cell)
                cells_.push_back({cell, static_cast<std::uint32_t>(pieces_.size()), 0});
            ++cells_.back().count;
            pieces_.push_back({static_cast<std::uint8_t>(cell == first >> 8 ? first : 0),
                               static_cast<std::uint8_t>(cell == last >> 8 ? last : 255), id});
        }
    }

    struct Cell {
        std::uint32_t number;  // in the group
        std::uint32_t begin, count;
    };
    std::span<const Cell> cells() const { return cells_; }
    std::span<const Piece> pieces(const Cell& cell) const { return std::span(pieces_).subspan(cell.begin, cell.count); }
    std::uint32_t fallback() const { return fallback_; }

private:
    std::uint32_t fallback_ = 0;
    std::vector<Piece> pieces_;
    std::vector<Cell> cells_;
};

std::uint8_t* bytes_of(set_line& line)
{
    return reinterpret_cast<std::uint8_t*>(&line);
}

void put_pair(std::uint8_t* pairs, std::size_t rank, const Piece& piece)
{
    pairs[2 * rank] = piece.first;
    pairs[2 * rank + 1] = piece.last;
}

class SlotsBuilder {
public:
    explicit SlotsBuilder(std::span<const Interval> intervals) : intervals_(intervals)
    {
        table_.part.kind = SET_SLOTS;
        table_.lines.reserve(groups_ + intervals.size() / 8);
        table_.lines.resize(groups_);
    }

    Table build()
    {
        Group group;
        std::size_t at = 0;  // the interval that the group begins in
        const auto size = static_cast<std::uint32_t>((1ULL << 32) / groups_);  // addresses of a group
        for (std::uint32_t number = 0; number < groups_; ++number) {
            const auto from = number * size;
            const auto to = from + (size - 1);
            auto end = at + 1;
            while (end < intervals_.size() && start(end) <= to)
                ++end;
            group.clear(widest(at, end, from, to));
            for (auto i = at; i < end; ++i)
                group.add(first_of(i, from) - from, last_of(i, to) - from, intervals_[i].id);
            put_slots(number, group);
            at = end < intervals_.size() && start(end) == to + 1 ? end : end - 1;
        }
        table_.lines.resize(table_.lines.size() + (pool_.size() + 15) / 16);
        std::copy(pool_.begin(), pool_.end(), reinterpret_cast<std::uint32_t*>(table_.lines.data() + groups_));
        table_.part.lines = static_cast<std::uint32_t>(table_.lines.size());
        return std::move(table_);
    }

private:
    std::uint32_t start(std::size_t i) const { return static_cast<std::uint32_t>(intervals_[i].hi >> 32); }
    std::uint32_t first_of(std::size_t i, std::uint32_t from) const { return std::max(start(i), from); }
    std::uint32_t last_of(std::size_t i, std::uint32_t to) const
    {
        return i + 1 < intervals_.size() ? std::min(start(i + 1) - 1, to) : to;
    }

    // The id of the longest interval: as the default it saves most.
    std::uint32_t widest(std::size_t begin, std::size_t end, std::uint32_t from, std::uint32_t to) const
    {
        std::uint32_t id = 0, length = 0;
        for (auto i = begin; i < end; ++i) {
            const auto here = last_of(i, to) - first_of(i, from) + 1;
            if (here > length) {
                length = here;
                id = intervals_[i].id;
            }
        }
        return id;
    }

    // Room for `count` u32 in the pool; returns the place, counted from the set's first line.
    std::uint32_t allocate(std::size_t count, std::size_t alignment)
    {
        const auto place = (pool_.size() + alignment - 1) / alignment * alignment;
        pool_.resize(place + count);
        return static_cast<std::uint32_t>(groups_ * 16 + place);
    }
    std::uint32_t* pool(std::uint32_t place) { return pool_.data() + (place - groups_ * 16); }

    void put_slots(std::uint32_t number, const Group& group)
    {
        const auto cells = group.cells();
        auto& line = table_.lines[number];
        bool simple = true;
        for (const auto& cell : cells) {
            line.word[0] |= 1ULL << cell.number;
            simple &= cell.count == 1;
        }
        const bool fits = simple && cells.size() <= SET_SLOT_INLINE_MAX;
        const auto place = fits ? 0 : allocate(cells.size() * 2, 2);
        auto* bytes = bytes_of(line);
        const auto put = [&](std::size_t offset, std::uint32_t value) { std::memcpy(bytes + offset, &value, sizeof value); };
        put(SET_SLOT_DEFAULT, group.fallback());
        put(SET_SLOT_POOL, place);
        for (std::size_t rank = 0; rank < cells.size(); ++rank) {
            const auto pieces = group.pieces(cells[rank]);
            if (fits) {
                put_pair(bytes + SET_SLOT_PAIRS, rank, pieces[0]);
                put(SET_SLOT_IDS + 4 * rank, pieces[0].id);
            } else if (pieces.size() == 1) {
                pool(place)[2 * rank] = pieces[0].id;
                pool(place)[2 * rank + 1] = pieces[0].first | pieces[0].last << 8;
            } else {
                const auto chunk = put_chunk(pieces, group.fallback());
                pool(place)[2 * rank] = chunk / 16;
                pool(place)[2 * rank + 1] = SET_SLOT_COMPLEX << 16;
            }
        }
    }

    std::uint32_t put_chunk(std::span<const Piece> pieces, std::uint32_t fallback)
    {
        std::array<std::uint32_t, 256> id_at;
        id_at.fill(fallback);
        for (const auto& piece : pieces)
            std::fill(id_at.begin() + piece.first, id_at.begin() + piece.last + 1, piece.id);
        std::array<std::uint64_t, 4> starts{};
        std::array<std::uint32_t, 256> ids;
        ids[0] = id_at[0];
        std::size_t count = 1;
        for (unsigned low = 1; low < 256; ++low)
            if (id_at[low] != id_at[low - 1]) {
                starts[low / 64] |= 1ULL << (low % 64);
                ids[count++] = id_at[low];
            }
        const auto place = allocate(SET_CHUNK_IDS + count, 16);
        auto* chunk = pool(place);
        std::uint32_t counts = 0;
        for (unsigned word = 0, before = 0; word < 4; ++word) {
            chunk[2 * word] = static_cast<std::uint32_t>(starts[word]);
            chunk[2 * word + 1] = static_cast<std::uint32_t>(starts[word] >> 32);
            counts |= before << (8 * word);
            before += static_cast<unsigned>(std::popcount(starts[word]));
        }
        chunk[SET_CHUNK_COUNTS / 4] = counts;
        std::copy_n(ids.begin(), count, chunk + SET_CHUNK_IDS);
        return place;
    }

    std::span<const Interval> intervals_;
    static constexpr std::uint32_t groups_ = SET_SLOT_GROUPS;
    Table table_;
    std::vector<std::uint32_t> pool_;
};

}  // namespace

Table build_slots(std::span<const Interval> intervals)
{
    return SlotsBuilder(intervals).build();
}

}  // namespace penstock::sets
