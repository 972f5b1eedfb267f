#include "features/sets/extra.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/sets_native.h"

using namespace penstock::sets;

namespace {

// The longest listed prefix that is alive, by looking at all of them.
std::uint32_t plain_find(const std::vector<ExtraElement>& elements, bool ipv6, std::uint64_t hi, std::uint64_t lo, std::uint64_t now)
{
    int best = -1;
    std::uint32_t id = 0;
    for (const auto& [prefix, expiry] : elements) {
        if (prefix.ipv6 != ipv6 || (expiry != 0 && expiry <= now))
            continue;
        bool same = true;
        for (int bit = 0; bit < prefix.length; ++bit) {
            const auto ours = bit < 64 ? prefix.hi >> (63 - bit) : prefix.lo >> (127 - bit);
            const auto theirs = bit < 64 ? hi >> (63 - bit) : lo >> (127 - bit);
            same = same && (ours & 1) == (theirs & 1);
        }
        if (same && static_cast<int>(prefix.length) > best) {
            best = prefix.length;
            id = prefix.id;
        }
    }
    return id;
}

class Extra : public testing::Test {
protected:
    void load(std::vector<ExtraElement> elements)
    {
        lines_ = build_extra(std::move(elements)).lines();
        native::bind(inner_, lines_);
        outer_ = {nullptr, nullptr, inner_};
        native::bind(&set_extra, outer_);
        native::maps()[&set_extra].of_maps = true;
        counts_ = {0, 0, 1};
        native::bind(&set_extra_counts, counts_);
    }
    std::uint32_t find(bool ipv6, std::uint64_t hi, std::uint64_t lo, std::uint64_t now, std::uint32_t number = 2)
    {
        set_table set{};
        set.number = number;
        return set_extra_lookup(&set, ipv6, hi, lo, now);
    }

private:
    std::vector<set_line> lines_;
    std::vector<void*> outer_;
    std::vector<std::uint32_t> counts_;
    char inner_[1]{};
};

ExtraElement timed(std::uint32_t address, unsigned length, std::uint32_t id, std::uint64_t expiry)
{
    return {Element::ipv4(address, length, id), expiry};
}

constexpr std::uint64_t host = 0x0a01020300000000ULL;

}  // namespace

TEST_F(Extra, ExpiredElementUncoversTheWiderOne)
{
    load({timed(0x0a000000, 8, 1, 0), timed(0x0a010000, 16, 2, 300), timed(0x0a010200, 24, 3, 200), timed(0x0a010203, 32, 4, 100)});
    EXPECT_EQ(find(false, host, 0, 99), 4U);
    EXPECT_EQ(find(false, host, 0, 100), 3U);
    EXPECT_EQ(find(false, host, 0, 250), 2U);
    EXPECT_EQ(find(false, host, 0, 300), 1U);
    EXPECT_EQ(find(false, 0x0b00000000000000ULL, 0, 0), 0U);
}

TEST_F(Extra, WiderOneThatDiedBeforeIsNotUncovered)
{
    load({timed(0x0a000000, 8, 1, 500), timed(0x0a010000, 16, 2, 100), timed(0x0a010203, 32, 4, 300)});
    EXPECT_EQ(find(false, host, 0, 50), 4U);
    EXPECT_EQ(find(false, host, 0, 200), 4U);
    EXPECT_EQ(find(false, host, 0, 300), 1U);
    EXPECT_EQ(find(false, host, 0, 500), 0U);
}

TEST_F(Extra, OtherSetsAndOtherFamilyHaveNone)
{
    load({timed(0x0a000000, 8, 1, 0)});
    EXPECT_EQ(find(false, host, 0, 0), 1U);
    EXPECT_EQ(find(false, host, 0, 0, 1), 0U);
    EXPECT_EQ(find(false, host, 0, 0, 9), 0U);
    EXPECT_EQ(find(true, host, 0, 0), 0U);
}

TEST_F(Extra, LastOfEqualPrefixesDecidesAndIsReadBack)
{
    const auto lines = build_extra({timed(0x0a000000, 8, 1, 5), timed(0x09000000, 8, 7, 0), timed(0x0a000000, 8, 2, 6)}).lines();
    const auto elements = read_extra(lines);
    ASSERT_EQ(elements.size(), 2U);
    EXPECT_EQ(elements[0].prefix.id, 7U);
    EXPECT_EQ(elements[1].prefix.id, 2U);
    EXPECT_EQ(elements[1].expiry, 6U);
    EXPECT_EQ(elements[1].prefix.hi, 0x0a00000000000000ULL);
    EXPECT_EQ(elements[1].prefix.length, 8);
    EXPECT_TRUE(read_extra({}).empty());
}

TEST_F(Extra, NestsAgreeWithThePlainSearch)
{
    std::mt19937_64 random{11};
    for (int round = 0; round < 40; ++round) {
        const bool ipv6 = round % 2 != 0;
        const unsigned width = ipv6 ? 128 : 32;
        const std::uint64_t hi = random(), lo = ipv6 ? random() : 0;
        std::vector<ExtraElement> elements;
        // A nest round one address, with every length once, and strangers.
        for (unsigned length = 0; length <= width; ++length) {
            const auto high = length == 0 ? 0 : length >= 64 ? ~0ULL : ~0ULL << (64 - length);
            const auto low = length <= 64 ? 0 : length == 128 ? ~0ULL : ~0ULL << (128 - length);
            const auto stray = length == 0 ? 0 : random() % 4 == 0 ? 1ULL << 63 : 0;
            elements.push_back({{(hi ^ stray) & high, lo & low, length + 1, static_cast<std::uint8_t>(length), ipv6}, random() % 50});
        }
        load(elements);
        for (std::uint64_t now = 0; now < 52; ++now)
            for (int flip = -1; flip < static_cast<int>(width); flip += 3) {
                const auto h = flip >= 0 && flip < 64 ? hi ^ 1ULL << (63 - flip) : hi;
                const auto l = flip >= 64 ? lo ^ 1ULL << (127 - flip) : lo;
                const auto address = ipv6 ? h : h & ~0ULL << 32;
                ASSERT_EQ(find(ipv6, address, l, now), plain_find(elements, ipv6, address, l, now)) << now << ' ' << flip;
            }
    }
}
