#include "features/sets/hits.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

using namespace penstock::sets;

namespace {

std::vector<Element> hosts(std::uint32_t first, std::uint32_t count) {
  std::vector<Element> out;
  for (std::uint32_t i = 0; i < count; ++i) out.push_back(Element::ipv4(first + i, 32, 0));
  return out;
}

std::map<std::uint64_t, std::uint32_t> ids_of(const std::vector<Element>& elements) {
  std::map<std::uint64_t, std::uint32_t> out;
  for (const Element& e : elements) out[e.hi] = e.id;
  return out;
}

}  // namespace

TEST(HitIds, NothingCountedNeedsNoPlaces) { EXPECT_TRUE(HitIds({}).finish().empty()); }

TEST(HitIds, EveryElementHasAPlaceOfItsOwn) {
  auto a = hosts(0x0a000000, 5000), b = hosts(0x0a000000, 100);
  HitIds ids({});
  ids.name(1, a);
  ids.name(2, b);
  const auto owners = ids.finish();
  std::set<std::uint32_t> seen;
  for (const auto* list : {&a, &b})
    for (const Element& e : *list) {
      ASSERT_NE(e.id, 0U);
      ASSERT_LT(e.id, owners.size());
      EXPECT_TRUE(seen.insert(e.id).second);
      EXPECT_EQ(owners[e.id].hi, e.hi);
      EXPECT_EQ(owners[e.id].set, list == &a ? 2 : 3);
    }
}

TEST(HitIds, TheSamePrefixInFileAndAtRunTimeIsCountedOnce) {
  auto file = hosts(0x0a000000, 3), run_time = hosts(0x0a000001, 1);
  HitIds ids({});
  ids.name(1, file);
  ids.name(1, run_time);
  ids.finish();
  EXPECT_EQ(run_time[0].id, file[1].id);
}

TEST(HitIds, ElementsKeepTheirIdsAcrossReloads) {
  auto first = hosts(0x0a000000, 2000);
  HitIds one({});
  one.name(1, first);
  auto owners = one.finish();
  const auto before = ids_of(first);
  auto second = hosts(0x0a000000 + 500, 2000);  // 500 leave, 500 come
  HitIds two(owners);
  two.name(1, second);
  const auto later = two.finish();
  for (const Element& e : second) {
    if (before.contains(e.hi)) EXPECT_EQ(e.id, before.at(e.hi));
    else
      for (const auto& [address, id] : before) ASSERT_NE(e.id, id) << "the running generation still counts there";
  }
  EXPECT_EQ(later[before.at(0x0a000000ULL << 32)].age, 1U);
}

TEST(HitIds, PlacesComeFreeOnceTheRunningGenerationForgotThem) {
  auto many = hosts(0x0a000000, 3000);
  HitIds one({});
  one.name(1, many);
  auto owners = one.finish();
  const size_t capacity = owners.size();
  for (std::uint32_t round = 1; round <= 12; ++round) {  // every time other elements
    auto others = hosts(0x0b000000 + round * 0x10000, 3000);
    HitIds next(owners);
    next.name(1, others);
    owners = next.finish();
    EXPECT_LE(owners.size(), 4 * capacity);
  }
}

TEST(HitIds, CompilingTwiceGivesTheSame) {
  auto a = hosts(0x0a000000, 1000), b = a;
  HitIds one({});
  one.name(4, a);
  const auto owners = one.finish();
  HitIds two(owners);
  two.name(4, b);
  const auto again = two.finish();
  EXPECT_EQ(again.size(), owners.size());
  EXPECT_EQ(ids_of(a), ids_of(b));
}

TEST(HitIndex, FindsInAnyOrderAndTellsSetsApart) {
  auto a = hosts(0x0a000000, 1000);
  HitIds ids({});
  ids.name(7, a);
  const auto owners = ids.finish();
  const HitIndex index(owners);
  for (auto e = a.rbegin(); e != a.rend(); ++e) EXPECT_EQ(index.find(7, *e), e->id);
  EXPECT_EQ(index.find(6, a[0]), 0U);
  auto wider = a[0];
  wider.length = 31;
  EXPECT_EQ(index.find(7, wider), 0U);
}
