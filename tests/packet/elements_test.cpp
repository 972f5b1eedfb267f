// Run-time elements as the real programs judge them: lifetimes, nests, hits, and a swap under running packets.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "app/compile.h"
#include "core/kernel/bpf.h"
#include "core/plan/loader.h"
#include "core/plan/running.h"
#include "features/sets/elements_file.h"
#include "features/sets/extra.h"
#include "tests/model/listed.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;
using sets::ExtraElement;

constexpr uint64_t ms = 1'000'000;

Prefix prefix(const char* text) { return parse_prefix(text).prefix; }

ExtraElement element(const char* text, uint32_t id, uint64_t expiry = 0) {
  ExtraElement e{sets::to_element(prefix(text)), expiry};
  e.prefix.id = id;
  return e;
}

uint32_t ipv4(const char* text) { return prefix(text).address.v4(); }

// A set `listed` whose elements are dropped, all else passes; loaded, never attached.
class Elements : public testing::Test {
 protected:
  void load(std::vector<const char*> file, bool counters) {
    std::vector<Prefix> prefixes;
    for (const char* text : file) prefixes.push_back(prefix(text));
    const Config config = drop_listed(std::move(prefixes), counters);
    Known known;
    known.sets.lanes = counter_lanes();
    auto compiled = compile(config, known);
    ASSERT_TRUE(compiled) << compiled.error().message();
    image = std::move(*compiled);
    number = image.sets.at(0).number;
    auto done = load_image(image, {});
    ASSERT_TRUE(done) << done.error().message();
    loaded = std::move(*done);
  }

  // Swaps the run-time elements as `set add` does.  Their expiry counts from the end of this call: the kernel lets a swap
  // wait until nobody reads the old table, which may take longer than they live.  begin: that moment.
  void put(std::vector<ExtraElement> elements) {
    const auto count = static_cast<uint32_t>(elements.size());
    const auto lines = sets::build_extra(std::move(elements)).lines();
    auto table = create_map({BPF_MAP_TYPE_ARRAY, "set_extra_lines", 4, sizeof(set_line), static_cast<uint32_t>(lines.size()), BPF_F_MMAPABLE | BPF_F_INNER_MAP});
    ASSERT_TRUE(table) << table.error().message();
    const auto memory = map_memory(table->get());
    ASSERT_TRUE(memory);
    std::memcpy(memory->as<set_line>(), lines.data(), lines.size() * sizeof(set_line));
    const int descriptor = table->get();
    ASSERT_TRUE(map_update(loaded.map("set_extra"), &number, &descriptor));
    ASSERT_TRUE(map_update(loaded.map("set_extra_counts"), &number, &count));
    begin = coarse_now();
    auto* element = reinterpret_cast<set_extra_element*>(memory->as<set_line>());
    for (uint32_t n = 1; n <= count; ++n)
      if (element[n].expiry != 0) element[n].expiry += begin;
  }

  // Safe from several threads.
  bool dropped(uint32_t source) const {
    uint8_t frame[54] = {};
    frame[12] = 8;
    frame[14] = 0x45;
    frame[17] = 40;
    frame[22] = 64;
    frame[23] = 6;
    for (int i = 0; i < 4; ++i) frame[26 + i] = static_cast<uint8_t>(source >> (24 - 8 * i));
    frame[46] = 0x50;
    bpf_attr attr{};
    attr.test.prog_fd = static_cast<uint32_t>(loaded.program(0));
    attr.test.data_in = reinterpret_cast<uint64_t>(frame);
    attr.test.data_size_in = sizeof frame;
    attr.test.repeat = 1;
    if (syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr) < 0) {
      ADD_FAILURE() << "BPF_PROG_TEST_RUN: " << strerror(errno);
      return false;
    }
    return attr.test.retval == 1;  // XDP_DROP
  }
  bool dropped(const char* source) const { return dropped(ipv4(source)); }

  uint32_t id_of(const char* text) const {
    for (const TableImage& t : image.tables) {
      if (t.map != "set_hit_owners") continue;
      const std::span owners(reinterpret_cast<const set_hit_owner*>(t.data.data()), t.data.size() / sizeof(set_hit_owner));
      return sets::HitIndex(owners).find(number, sets::to_element(prefix(text)));
    }
    return 0;
  }
  uint64_t hits(uint32_t id) const {
    const auto info = map_info(loaded.map("set_hits"));
    const auto memory = map_memory(loaded.map("set_hits"));
    if (!info || !memory) return ~0ULL;
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < counter_lanes(); ++lane) sum += memory->as<uint64_t>()[info->max_entries / counter_lanes() * lane + id];
    return sum;
  }

  Image image;
  Loaded loaded;
  uint32_t number = 0;
  uint64_t begin = 0;
};

TEST_F(Elements, EndWhenTheKernelsClockSaysSo) {
  load({}, false);
  put({element("10.1.0.0/16", 1, 200 * ms), element("10.2.0.0/16", 1)});
  const uint64_t end = begin + 200 * ms, tick = coarse_tick();
  size_t before = 0, after = 0;
  while (after < 3) {  // however slow the machine is
    const uint64_t early = coarse_now();
    const bool hit = dropped("10.1.2.3");
    const uint64_t late = coarse_now();
    if (late < end) {
      EXPECT_TRUE(hit) << (end - late) / ms << " ms too early";
      ++before;
    }
    if (early >= end + tick) {
      EXPECT_FALSE(hit) << (early - end) / ms << " ms too late";
      ++after;
    }
    EXPECT_TRUE(dropped("10.2.2.3"));
    EXPECT_FALSE(dropped("10.3.2.3"));
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_GT(before, 0U);
}

// Each ends before the one around it; the hits tell which one judged.
TEST_F(Elements, AnEndedElementUncoversTheWiderOneAlsoOfTheFile) {
  load({"10.0.0.0/8"}, true);
  const uint32_t file = id_of("10.0.0.0/8");
  ASSERT_NE(file, 0U);
  const uint32_t wide = file + 1, narrow = file + 2;  // free places
  put({element("10.1.0.0/16", wide, 1200 * ms), element("10.1.1.0/24", narrow, 600 * ms), element("11.1.1.0/24", narrow, 600 * ms)});
  EXPECT_TRUE(dropped("10.1.1.1"));
  EXPECT_TRUE(dropped("11.1.1.1"));
  EXPECT_EQ(hits(narrow), 2U);
  while (coarse_now() < begin + 600 * ms) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(dropped("10.1.1.1"));
  EXPECT_FALSE(dropped("11.1.1.1")) << "nothing is behind this one";
  EXPECT_EQ(hits(narrow), 2U);
  EXPECT_EQ(hits(wide), 1U);
  while (coarse_now() < begin + 1200 * ms) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(dropped("10.1.1.1"));
  EXPECT_EQ(hits(narrow), 2U);
  EXPECT_EQ(hits(wide), 1U);
  EXPECT_EQ(hits(file), 1U);
}

TEST_F(Elements, AHitBelongsToTheLongestPrefixOfBoth) {
  load({"10.1.1.0/24", "10.2.0.0/16", "10.3.0.0/16"}, true);
  const uint32_t narrow = id_of("10.1.1.0/24"), wide = id_of("10.2.0.0/16"), same = id_of("10.3.0.0/16");
  const uint32_t a = std::max({narrow, wide, same}) + 1, b = a + 1;
  put({element("10.1.0.0/16", a), element("10.2.2.0/24", b), element("10.3.0.0/16", same), element("10.4.0.0/16", SET_NO_COUNTER)});
  for (const auto& [source, times] : {std::pair{"10.1.1.9", 1}, {"10.1.2.9", 2}, {"10.2.2.9", 3}, {"10.2.3.9", 4}, {"10.3.0.9", 5}, {"10.4.0.9", 6}})
    for (int i = 0; i < times; ++i) EXPECT_TRUE(dropped(source));
  EXPECT_FALSE(dropped("10.5.0.9"));
  EXPECT_EQ(hits(narrow), 1U);
  EXPECT_EQ(hits(a), 2U);
  EXPECT_EQ(hits(b), 3U);
  EXPECT_EQ(hits(wide), 4U);
  EXPECT_EQ(hits(same), 5U);
  uint64_t sum = 0;
  for (uint32_t id = 0; id < b + 100; ++id) sum += hits(id);
  EXPECT_EQ(sum, 15U);
}

// What is in every version always drops and what is in none always passes, at any moment.
TEST_F(Elements, ASwapUnderRunningPacketsShowsTheOldOrTheNew) {
  load({}, false);
  std::vector<ExtraElement> versions[2];
  for (uint32_t i = 0; i < 20'000; ++i) {
    ExtraElement always{sets::Element::ipv4(ipv4("10.0.0.0") + 64 * i, 32, 1)}, other = always;
    other.prefix = sets::Element::ipv4(ipv4("10.0.0.0") + 64 * i + 1, 32, 1);
    for (auto& v : versions) v.push_back(always);
    versions[1].push_back(other);
  }
  put(versions[0]);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> judged = 0, leaked = 0, refused = 0, sometimes = 0;
  std::thread stream([&] {
    for (uint32_t n = 0; !stop; n = (n + 7919) % 20'000) {
      const uint32_t base = ipv4("10.0.0.0") + 64 * n;
      leaked += !dropped(base);
      sometimes += dropped(base + 1);
      refused += dropped(base + 2);
      ++judged;
    }
  });
  size_t swaps = 0;
  for (const auto start = std::chrono::steady_clock::now(); !HasFatalFailure(); ++swaps) {
    const auto time = std::chrono::steady_clock::now() - start;
    if ((swaps >= 6 && time > 1s) || time > 20s) break;
    put(versions[(swaps + 1) % 2]);
  }
  stop = true;
  stream.join();
  EXPECT_EQ(leaked, 0U) << "of " << judged;
  EXPECT_EQ(refused, 0U) << "of " << judged;
  EXPECT_GE(swaps, 6U);
  EXPECT_GT(sometimes, 0U);
  EXPECT_LT(sometimes, judged);
  // Once the change is done every packet sees all of it.
  put(versions[1]);
  for (uint32_t n = 0; n < 20'000; n += 37) ASSERT_TRUE(dropped(ipv4("10.0.0.0") + 64 * n + 1)) << n;
  put(versions[0]);
  for (uint32_t n = 0; n < 20'000; n += 37) ASSERT_FALSE(dropped(ipv4("10.0.0.0") + 64 * n + 1)) << n;
}

}  // namespace
}  // namespace penstock
