#include "features/sets/table.h"

#include <gtest/gtest.h>

#include <bitset>
#include <random>
#include <vector>

#include "tests/unit/sets_model.h"
#include "tests/unit/sets_native.h"

using namespace penstock::sets;

namespace {

using Random = std::mt19937_64;

std::string bits_of(bool ipv6, std::uint64_t hi, std::uint64_t lo)
{
    const auto high = std::bitset<64>(hi).to_string();
    return ipv6 ? high + std::bitset<64>(lo).to_string() : high.substr(0, 32);
}

struct Words {
    std::uint64_t hi, lo;
};

Words masked(Words a, unsigned length)
{
    const auto hi = length == 0 ? 0 : length >= 64 ? ~0ULL : ~0ULL << (64 - length);
    const auto lo = length <= 64 ? 0 : length >= 128 ? ~0ULL : ~0ULL << (128 - length);
    return {a.hi & hi, a.lo & lo};
}

Words add(Words a, std::int64_t step)
{
    const auto sum = (static_cast<unsigned __int128>(a.hi) << 64 | a.lo) + static_cast<__int128>(step);
    return {static_cast<std::uint64_t>(sum >> 64), static_cast<std::uint64_t>(sum)};
}

Element element(bool ipv6, Words a, unsigned length, std::uint32_t id)
{
    const auto m = masked(a, length);
    return {m.hi, m.lo, id, static_cast<std::uint8_t>(length), ipv6};
}

// Builds the set, places it between other lines and compares lookups with the model: at the edges of
// every prefix (or of `edges` of them), around them, and at random.
void compare(std::vector<Element> elements, Ids ids, std::uint32_t expected_kind, Random& random, std::size_t edges = 400)
{
    ASSERT_FALSE(elements.empty());
    const bool ipv6 = elements[0].ipv6;
    // The model lets the last of equal prefixes decide; shuffled, there must be none.
    sort_elements(elements);
    const auto equal = [](const Element& a, const Element& b) { return a.hi == b.hi && a.lo == b.lo && a.length == b.length; };
    elements.erase(std::unique(elements.begin(), elements.end(), equal), elements.end());
    SetModel model;
    for (const auto& e : elements)
        model.add(bits_of(ipv6, e.hi, e.lo), e.length, ids == Ids::yes ? e.id : 1);
    std::shuffle(elements.begin(), elements.end(), random);
    auto sample = elements;
    sample.resize(std::min(sample.size(), edges));

    auto tables = build_set(elements, ids);
    auto& table = tables.part[ipv6];
    EXPECT_EQ(kind_name(table.part.kind), kind_name(expected_kind));
    EXPECT_EQ(table.part.lines, table.lines.size());
    EXPECT_EQ(tables.part[!ipv6].part.kind, SET_EMPTY);

    set_line other;
    std::fill(std::begin(other.word), std::end(other.word), 0x5a5a5a5a5a5a5a5aULL);
    std::vector<set_line> lines(3, other);
    lines.insert(lines.end(), table.lines.begin(), table.lines.end());
    lines.insert(lines.end(), 3, other);
    native::bind(&set_lines, lines);
    set_table set{};
    set.part[ipv6] = table.part;
    set.part[ipv6].base = 3;

    const auto check = [&](Words a) {
        if (!ipv6)
            a = {a.hi & ~0ULL << 32, 0};
        const auto bits = bits_of(ipv6, a.hi, a.lo);
        ASSERT_EQ(set_lookup(&set, ~0U, ipv6, a.hi, a.lo), model.find(bits)) << bits;
    };
    const auto one = [&](Words a, int direction) {
        return ipv6 ? add(a, direction) : Words{a.hi + (static_cast<std::uint64_t>(direction) << 32), 0};
    };
    for (const auto& e : sample) {
        const Words first{e.hi, e.lo};
        const auto none = masked({~0ULL, ~0ULL}, e.length);
        const Words last{e.hi | ~none.hi, e.lo | ~none.lo};
        const auto width = ipv6 ? 128U : 32U;
        const auto inside = [&] {
            const Words r{random(), random()};
            return Words{(e.hi & none.hi) | (r.hi & ~none.hi), (e.lo & none.lo) | (r.lo & ~none.lo)};
        };
        check(first);
        check(ipv6 ? last : Words{last.hi & ~0ULL << 32, 0});
        check(one(first, -1));
        check(one(ipv6 ? last : Words{last.hi & ~0ULL << 32, 0}, 1));
        check(inside());
        if (e.length > 0 && e.length <= width)
            check({e.hi ^ (e.length <= 64 ? 1ULL << (64 - e.length) : 0), e.lo ^ (e.length > 64 ? 1ULL << (128 - e.length) : 0)});
        if (testing::Test::HasFatalFailure())
            return;
    }
    for (int i = 0; i < 500; ++i)
        check({random(), random()});
    for (const Words a : {Words{0, 0}, Words{~0ULL, ~0ULL}, Words{1ULL << 63, 0}, Words{(1ULL << 63) - 1, ~0ULL},
                          Words{1ULL << 62, 0}, Words{3ULL << 62, 0}})
        check(a);
}

std::vector<Element> random_set(Random& random, bool ipv6, std::size_t count, unsigned shortest, unsigned longest, Words common = {},
                                unsigned common_length = 0)
{
    std::vector<Element> elements;
    const auto keep = masked({~0ULL, ~0ULL}, common_length);
    for (std::size_t i = 0; i < count; ++i) {
        const Words a{(random() & ~keep.hi) | (common.hi & keep.hi), (random() & ~keep.lo) | (common.lo & keep.lo)};
        const auto length = shortest + static_cast<unsigned>(random() % (longest - shortest + 1));
        elements.push_back(element(ipv6, a, length, static_cast<std::uint32_t>(elements.size() + 1)));
    }
    return elements;
}

}  // namespace

class SetTable : public testing::TestWithParam<unsigned> {
protected:
    Random random{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Seeds, SetTable, testing::Range(1U, 4U));

TEST_P(SetTable, LinearUpToSixteen)
{
    for (std::size_t count : {1, 2, 7, 8, 9, 15, 16})
        compare(random_set(random, false, count, 4, 32), Ids::no, SET_LINEAR, random);
    compare({Element::ipv4(0, 0)}, Ids::no, SET_LINEAR, random);
    compare({Element::ipv4(0xffffffff, 32)}, Ids::no, SET_LINEAR, random);
    compare({Element::ipv4(0, 32)}, Ids::no, SET_LINEAR, random);
    // Two hosts that differ in one bit share a word with others.
    compare({Element::ipv4(1, 32), Element::ipv4(2, 32), Element::ipv4(0x80000001, 32)}, Ids::no, SET_LINEAR, random);
}

TEST_P(SetTable, CoveredPrefixesTakeNoPlace)
{
    auto elements = random_set(random, false, 500, 9, 32, {10ULL << 56, 0}, 8);
    elements.push_back(Element::ipv4(10U << 24, 8));
    compare(elements, Ids::no, SET_LINEAR, random);
}

TEST_P(SetTable, TreeOfFewIpv4)
{
    compare(random_set(random, false, 17, 20, 32), Ids::no, SET_TREE, random);
    compare(random_set(random, false, 200, 10, 32), Ids::no, SET_TREE, random);
    compare(random_set(random, false, 200, 0, 32), Ids::yes, SET_TREE, random);
    compare({Element::ipv4(0, 0, 7)}, Ids::yes, SET_TREE, random);
    compare({Element::ipv4(0xffffffff, 32, 9), Element::ipv4(0, 0, 0xffffffff)}, Ids::yes, SET_TREE, random);
}

TEST_P(SetTable, Ipv4Spread)
{
    compare(random_set(random, false, 20000, 14, 32), Ids::no, SET_BLOCKS, random);
    compare(random_set(random, false, 20000, 8, 32), Ids::yes, SET_SLOTS, random);
    compare(random_set(random, false, 20000, 32, 32), Ids::no, SET_BLOCKS, random);
    compare(random_set(random, false, 20000, 24, 24), Ids::yes, SET_SLOTS, random);
}

TEST_P(SetTable, Ipv4ClusteredAndNested)
{
    // 20,000 in one /12: several in each /24; then in one /20: dense chunks; then with a default route.
    compare(random_set(random, false, 20000, 22, 32, {random(), 0}, 12), Ids::no, SET_BLOCKS, random);
    compare(random_set(random, false, 20000, 12, 32, {random(), 0}, 12), Ids::yes, SET_SLOTS, random);
    auto dense = random_set(random, false, 5000, 22, 32, {random(), 0}, 20);
    dense.push_back(Element::ipv4(0, 0, 70000));
    compare(dense, Ids::yes, SET_SLOTS, random);
    // Every address of a /24 is its own element: 256 intervals in one chunk, a neighbour in each other.
    std::vector<Element> all;
    for (std::uint32_t i = 0; i < 1024; ++i)
        all.push_back(Element::ipv4(0xc0a80100 + i, 32, i + 1));
    compare(all, Ids::yes, SET_SLOTS, random);
    std::vector<Element> odd;
    for (std::uint32_t i = 0; i < 2048; i += 2)
        odd.push_back(Element::ipv4(0xfffff800 + i, 32, i + 1));
    compare(odd, Ids::no, SET_BLOCKS, random);
    compare(odd, Ids::yes, SET_SLOTS, random);
}

// What an entry, a word and a line of lanes tell, and one more, in both halves of a /16; beyond that it is divided.
TEST_P(SetTable, LimitsOfABlock)
{
    for (const unsigned lower : {0U, 1U, 2U, 3U, 4U, 5U, 15U, 16U, 17U, 30U, 31U, 32U, 60U, 600U})
        for (const unsigned upper : {0U, 1U, 2U, 3U, 4U, 16U, 17U, 31U, 32U, 33U}) {
            std::vector<Element> elements;
            for (std::uint32_t block = 0; block < 30; ++block) {
                const auto from = (block * 7 + 3) << 16;
                for (std::uint32_t i = 0; i < lower; ++i)
                    elements.push_back(Element::ipv4(from | (i * 0x0b06 & 0x7fff), 32 - i % 2));
                for (std::uint32_t i = 0; i < upper; ++i)
                    elements.push_back(Element::ipv4(from | 0x8000 | (i * 0x0b04 & 0x7fff), 32 - i % 3));
            }
            for (std::uint32_t i = 0; i < 300; ++i)  // enough to leave the tree, each alone
                elements.push_back(Element::ipv4(0xc0000000 | i << 16, 17 + i % 16));
            compare(elements, Ids::no, SET_BLOCKS, random, 400);
        }
    // All of a /16 and more, and nearly all of one.
    std::vector<Element> wide;
    for (std::uint32_t i = 0; i < 600; ++i)
        wide.push_back(Element::ipv4(0x0a000000 + (i << 15), 17 + i % 3));
    wide.push_back(Element::ipv4(0xc0000000, 7));
    for (unsigned length = 17; length <= 32; ++length)
        wide.push_back(Element::ipv4(0x50010000 - (0x10000 >> (length - 17)), length));
    compare(wide, Ids::no, SET_BLOCKS, random, 1000);
}

TEST_P(SetTable, InlineLimitOfAGroup)
{
    // Partial /24s in each of many groups, up to the limit and over it, in both halves of them.
    for (std::uint32_t partial : {8U, 14U, 15U, 16U, 17U, 18U}) {
        std::vector<Element> elements;
        for (std::uint32_t group = 0; group < 40; ++group)
            for (std::uint32_t i = 0; i < partial; ++i)
                elements.push_back(Element::ipv4(group << 15 | ((i * 37) % 128) << 8 | static_cast<std::uint32_t>(random() % 256), 32,
                                                 static_cast<std::uint32_t>(elements.size() + 1)));
        compare(elements, Ids::no, SET_BLOCKS, random);
        compare(elements, Ids::yes, SET_SLOTS, random);
    }
}

TEST_P(SetTable, Ipv6)
{
    for (const auto ids : {Ids::no, Ids::yes}) {
        compare(random_set(random, true, 1, 64, 64), ids, SET_TREE, random);
        compare(random_set(random, true, 7, 1, 128), ids, SET_TREE, random);
        compare(random_set(random, true, 8, 32, 128), ids, SET_TREE, random);
        compare(random_set(random, true, 20000, 16, 128), ids, SET_TREE, random);
        compare(random_set(random, true, 20000, 16, 64), ids, SET_TREE, random);
        compare(random_set(random, true, 20000, 32, 128, {0x20010db8ULL << 32, 0}, 32), ids, SET_TREE, random);
        compare(random_set(random, true, 5000, 62, 66, {random(), random()}, 58), ids, SET_TREE, random);
        compare({element(true, {0, 0}, 0, 3), element(true, {~0ULL, ~0ULL}, 128, 4)}, ids, SET_TREE, random);
    }
}

// Do buckets stand right below one of the four roots?
bool has_buckets(std::vector<Element> elements)
{
    const auto tables = build_set(elements, Ids::no);
    const auto& lines = tables.part[1].lines;
    return (lines[0].word[0] | lines[2].word[0] | lines[4].word[0] | lines[6].word[0]) & SET_TREE_BUCKETS;
}

TEST_P(SetTable, Ipv6Buckets)
{
    const Words block{0x20010db8ULL << 32, 0};
    auto elements = random_set(random, true, 20000, 48, 64, block, 16);
    ASSERT_TRUE(has_buckets(elements));
    compare(elements, Ids::no, SET_TREE, random);
    // Wider than a cell: turns.  Wider than a bucket: all of one.  Around the block: all before and behind it.
    for (const unsigned wide : {25U, 28U, 32U, 36U, 40U})
        for (int i = 0; i < 20; ++i)
            elements.push_back(random_set(random, true, 1, wide, wide, block, 16)[0]);
    ASSERT_TRUE(has_buckets(elements));
    compare(elements, Ids::no, SET_TREE, random, 2000);
    auto around = elements;
    around.push_back(element(true, {0, 0}, 3, 1));
    around.push_back(element(true, {0x2002ULL << 48, 0}, 16, 1));
    compare(around, Ids::no, SET_TREE, random);
    around.push_back(element(true, {0x3000ULL << 48, 0}, 4, 1));
    compare(around, Ids::no, SET_TREE, random);
    // Several in a cell, neighbours that make no prefix together, and more of them than a bucket holds.
    for (const int many : {2, 3, 5, 24, 25, 60, 400}) {
        const Words start{block.hi | random() % 4096 << 20, random() << 8};
        for (int i = 0; i < many; ++i)
            elements.push_back(element(true, add(start, 3 * i + (i % 3 == 0)), 128, 1));
    }
    ASSERT_TRUE(has_buckets(elements));
    compare(elements, Ids::no, SET_TREE, random, 3000);
    // A bucket for each of 256 /24s: full, and one too many, of records and of turns.
    std::vector<Element> counted;
    for (std::uint64_t bucket = 0; bucket < 256; ++bucket)
        for (std::uint64_t i = 0; i < 12 + bucket % 16; ++i)
            counted.push_back(element(true, {0x20ULL << 56 | bucket << 40 | i << 34 | (random() & 0xffffff), 0}, 64, 1));
    compare(counted, Ids::no, SET_TREE, random, 5000);
    for (std::uint64_t bucket = 0; bucket < 256; ++bucket)
        for (std::uint64_t i = 0; i < bucket % 4; ++i)
            counted.push_back(element(true, {0x20ULL << 56 | bucket << 40 | i << 38, 0}, 28, 1));
    compare(counted, Ids::no, SET_TREE, random, 5000);
}

TEST_P(SetTable, Ipv6SequentialHosts)
{
    std::vector<Element> elements;
    const Words start{random(), ~0ULL - 5000};  // runs over the /64's end
    for (std::int64_t i = 0; i < 10000; ++i)
        elements.push_back(element(true, add(start, i), 128, static_cast<std::uint32_t>(i + 1)));
    compare(elements, Ids::no, SET_TREE, random);
    compare(elements, Ids::yes, SET_TREE, random);
}

TEST_P(SetTable, DeepNests)
{
    for (const bool ipv6 : {false, true}) {
        std::vector<Element> elements;
        for (int nest = 0; nest < 20; ++nest) {
            const Words a{random(), random()};
            for (unsigned length = 0; length <= (ipv6 ? 128U : 32U); ++length)
                elements.push_back(element(ipv6, a, length, length + 1));
        }
        compare(elements, Ids::yes, ipv6 ? SET_TREE : SET_SLOTS, random);
        // Ends that fall together: every length ending at the last address of the space.
        elements.clear();
        for (unsigned length = 0; length <= (ipv6 ? 128U : 32U); ++length)
            elements.push_back(element(ipv6, {~0ULL, ~0ULL}, length, length + 1));
        compare(elements, Ids::yes, SET_TREE, random);
    }
}

TEST(SetTableBuild, EmptySetHasNoLinesAndMatchesNothing)
{
    const auto tables = build_set({}, Ids::no);
    set_table set{};
    for (int family = 0; family < 2; ++family) {
        EXPECT_TRUE(tables.part[family].lines.empty());
        set.part[family] = tables.part[family].part;
        EXPECT_EQ(set_lookup(&set, ~0U, static_cast<__u32>(family), 0x0a00000000000000ULL, 0), 0U);
    }
}

TEST(SetTableBuild, LastOfEqualPrefixesDecides)
{
    std::vector<Element> elements{Element::ipv4(0x0a000000, 8, 1), Element::ipv4(0x0a000000, 8, 2)};
    auto tables = build_set(elements, Ids::yes);
    native::bind(&set_lines, tables.part[0].lines);
    set_table set{};
    set.part[0] = tables.part[0].part;
    EXPECT_EQ(set_lookup(&set, ~0U, 0, 0x0a01020300000000ULL, 0), 2U);
    EXPECT_EQ(set_lookup(&set, ~0U, 0, 0x0b00000000000000ULL, 0), 0U);
}

TEST(SetTableBuild, VeryMany)
{
    Random random{7};
    compare(random_set(random, false, 1'000'000, 24, 32), Ids::no, SET_BLOCKS, random, 5000);
    compare(random_set(random, true, 200'000, 32, 128), Ids::no, SET_TREE, random, 5000);
}

// Entries of blocks tell 2^17 lines of lanes; here each half of a /16 needs one, and then two of them two.
TEST(SetTableBuild, MoreThanBlocksTell)
{
    std::vector<Element> elements;
    for (std::uint32_t half = 0; half < 1 << 17; ++half)
        for (std::uint32_t i = 0; i < 17; ++i)
            elements.push_back(Element::ipv4(half << 15 | i * 0x700, 32));
    for (const std::uint32_t kind : {SET_BLOCKS, SET_TREE}) {
        auto tables = build_set(elements, Ids::no);
        native::bind(&set_lines, tables.part[0].lines);
        set_table set{};
        set.part[0] = tables.part[0].part;
        EXPECT_EQ(kind_name(set.part[0].kind), kind_name(kind));
        for (std::uint32_t half = 0; half < 1 << 17; half += 7)
            for (const std::uint32_t low : {0U, 1U, 0x700U, 0x7000U, 0x7001U, 0x7fffU})
                ASSERT_EQ(set_lookup(&set, ~0U, 0, std::uint64_t{half << 15 | low} << 32, 0), low % 0x700 == 0) << half << ' ' << low;
        for (std::uint32_t i = 0; i < 17; ++i)
            for (const std::uint32_t half : {0U, 1U})
                elements.push_back(Element::ipv4(half << 15 | (i * 0x700 + 0x380), 32));
    }
}

TEST(SetHits, CountsOnTheLaneOfTheCpu)
{
    std::vector<std::uint64_t> hits(2 * 10);
    native::bind(&set_hits, hits);
    native::cpu = 1;
    set_count_hit(10, 3);
    set_count_hit(10, 3);
    native::cpu = 0;
    set_count_hit(10, 9);
    EXPECT_EQ(hits[13], 2U);
    EXPECT_EQ(hits[9], 1U);
    EXPECT_EQ(hits[3], 0U);
}
