// Sets of many prefixes at every instruction level: what the lookups of the bytecode find, against a plain model.
#include <gtest/gtest.h>

#include <random>

#include "app/compile.h"
#include "tests/model/listed.h"
#include "tests/packet/datapath.h"
#include "tests/unit/sets_model.h"

namespace penstock::packet_test {
namespace {

using Random = std::mt19937_64;

std::string bits_of(const Address& a, bool v4) {
  std::string out;
  const auto wire = a.wire();
  for (size_t i = v4 ? 12 : 0; i < wire.size(); ++i)
    for (int bit = 7; bit >= 0; --bit) out += static_cast<char>('0' + (wire[i] >> bit & 1));
  return out;
}

// A TCP segment without payload.
std::vector<uint8_t> packet_from(const Address& source) {
  const bool v4 = Prefix{source, 128}.is_v4();
  std::vector<uint8_t> f(v4 ? 54 : 74);
  const auto wire = source.wire();
  f[12] = v4 ? 0x08 : 0x86;
  f[13] = v4 ? 0x00 : 0xdd;
  if (v4) {
    f[14] = 0x45;
    f[17] = 40;
    f[22] = 64;
    f[23] = 6;
    std::copy(wire.begin() + 12, wire.end(), f.begin() + 26);
    f[46] = 0x50;
  } else {
    f[14] = 0x60;
    f[19] = 20;
    f[20] = 6;
    f[21] = 64;
    std::copy(wire.begin(), wire.end(), f.begin() + 22);
    f[66] = 0x50;
  }
  return f;
}

// A prefix's address with the bits behind it changed: all 0, all 1, or one step before the first or behind the last.
Address edge(const Prefix& p, unsigned which) {
  const auto value = static_cast<unsigned __int128>(p.address.hi) << 64 | p.address.lo;
  const auto host = p.length == 0 ? ~static_cast<unsigned __int128>(0) : (static_cast<unsigned __int128>(1) << (128 - p.length)) - 1;
  const unsigned __int128 at[] = {value, value | host, value - 1, (value | host) + 1};
  return {static_cast<uint64_t>(at[which] >> 64), static_cast<uint64_t>(at[which])};
}

struct Shape {
  const char* name;
  const char* structure;  // what must be chosen
  unsigned shortest, longest, clusters;  // clusters: /16s or /32s that all lie in, 0: anywhere
  bool v4;
};

void check(const Shape& shape, Level level) {
  SCOPED_TRACE(shape.name);
  SCOPED_TRACE(level_name(level));
  Random random(shape.shortest + shape.clusters);
  std::vector<Prefix> prefixes;
  SetModel model;
  for (int i = 0; i < 20000; ++i) {
    Address a{random(), random()};
    a.hi = (a.hi & ~(7ull << 61)) | 1ull << 61;
    if (shape.clusters) a.hi = (a.hi & 0xffffffff) | (0x20010000ull + random() % shape.clusters * 7) << 32;
    auto length = shape.shortest + static_cast<unsigned>(random() % (shape.longest - shape.shortest + 1));
    if (shape.v4) {
      const auto low = static_cast<uint32_t>(a.lo);
      a = Address::v4(shape.clusters ? (11u + static_cast<uint32_t>(random() % shape.clusters)) << 16 | (low & 0xffff) : low);
      length += 96;
    }
    const auto host = static_cast<unsigned __int128>(length == 128 ? 0 : (static_cast<unsigned __int128>(1) << (128 - length)) - 1);
    const Prefix p{{a.hi & ~static_cast<uint64_t>(host >> 64), a.lo & ~static_cast<uint64_t>(host)}, static_cast<uint8_t>(length)};
    prefixes.push_back(p);
    model.add(bits_of(p.address, shape.v4), p.family_length(), 1);
  }
  const Config config = drop_listed(prefixes);
  const auto image = compile(config, {});
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_NE(image->sets.at(0).structure.find(shape.structure), std::string::npos) << image->sets.at(0).structure;
  auto datapath = Datapath::load(config, "a", {.level = level});
  ASSERT_TRUE(datapath) << datapath.error().message();
  size_t dropped = 0, runs = 0;
  for (size_t i = 0; i < prefixes.size(); i += 10)
    for (unsigned which = 0; which < 4; ++which) {
      const Address a = edge(prefixes[i], which);
      if (Prefix{a, 128}.is_v4() != shape.v4) continue;
      const auto got = datapath->run(packet_from(a));
      ASSERT_TRUE(got) << got.error().message();
      ASSERT_EQ(got->verdict, model.find(bits_of(a, shape.v4)) ? "drop" : "pass") << a.text();
      dropped += got->verdict == "drop";
      ++runs;
    }
  EXPECT_GE(dropped, 4000u);
  EXPECT_LT(dropped, runs);
}

TEST(LargeSets, BytecodeFindsWhatTheModelFinds) {
  for (const Level level : loadable_levels()) {
    check({"IPv4, hosts and narrow prefixes", "IPv4 blocks", 20, 32, 0, true}, level);
    check({"IPv4, clustered", "IPv4 blocks", 30, 32, 8, true}, level);
    check({"IPv6, spread", "IPv6 tree", 32, 128, 0, false}, level);
    check({"IPv6, clustered", "IPv6 tree", 36, 128, 5, false}, level);
    check({"IPv6, wide", "IPv6 tree", 10, 40, 0, false}, level);
  }
}

}  // namespace
}  // namespace penstock::packet_test
