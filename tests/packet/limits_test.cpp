// Limits and bans, on the clock of replay: what the property test cannot tell, because no model has an end of room.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <cstring>
#include <thread>

#include "app/explain.h"
#include "app/replay.h"
#include "core/kernel/bpf.h"
#include "core/net/packet_text.h"
#include "features/limits/bans.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

constexpr uint64_t ms = 1'000'000, s = 1'000 * ms;

Config config_of(const std::string& rules) {
  auto config = load_config_text("node.yaml", "version: 1\ninterfaces: { a: { match: dev0 } }\npolicies:\n  p:\n    attach: [a.ingress]\n    rules:\n" + rules);
  EXPECT_TRUE(config) << config.error().message();
  return std::move(*config);
}

// A UDP packet over IPv4, from an address as a number.
std::vector<uint8_t> from(uint32_t source) {
  return *packet_from_text(fmt::format("udp {}.{}.{}.{}:1 > 198.51.100.9:53", source >> 24, source >> 16 & 255, source >> 8 & 255, source & 255));
}

// One program with its lines in view.
struct Node {
  Config config;
  Datapath datapath;
  LiveLimits live;
  Node(const std::string& rules, Level level) : config(config_of(rules)), datapath(load(config, level)) {
    auto maps = LiveLimits::of_maps(datapath.map("limits"), datapath.map("limit_lines"));
    EXPECT_TRUE(maps);
    live = std::move(*maps);
  }
  static Datapath load(const Config& config, Level level) {
    auto out = Datapath::load(config, "a", {.level = level});
    EXPECT_TRUE(out) << out.error().message();
    return std::move(*out);
  }
  // The reason of the last exit.
  std::string send(const std::vector<uint8_t>& frame, uint64_t now) {
    datapath.set_now(now);
    const auto outcome = datapath.run(frame);
    EXPECT_TRUE(outcome) << outcome.error().message();
    return outcome ? outcome->exits.back().reason : "";
  }
};

// Ten seconds at 1.2, 10 and 100 times the rate: what passes is the rate and the burst.
TEST(Limits, PassesTheRateAndTheBurst) {
  struct Case {
    const char* limit;
    double per_second, burst;
    size_t bytes;               // that each packet counts; 0: packets are counted
  };
  const size_t frame = from(1).size();
  for (const Level level : loadable_levels())
    for (const Case& c : {Case{"rate: 100/s", 100, 10, 0}, Case{"rate: 200/s, burst: 1", 200, 1, 0}, Case{"rate: 600/min, burst: 3, per: rule", 10, 3, 0},
                          Case{"rate: 500kbit, burst: 20kB", 62'500, 20'000, frame}})
      for (const double times : {1.2, 10.0, 100.0}) {
        Node node(fmt::format("      - {{ name: r, limit: {{ {} }}, action: drop }}\n", c.limit), level);
        const double unit = c.bytes ? static_cast<double>(c.bytes) : 1;
        const auto packets = static_cast<uint64_t>(10 * c.per_second * times / unit);
        const auto packet = from(0xc0000201);
        uint64_t passed = 0;
        for (uint64_t i = 0; i < packets; ++i) {
          uint64_t now = 100 * s + i * (10 * s / packets);
          if (c.burst > c.per_second / 50) now = now / (4 * ms) * (4 * ms);  // as the coarse clock tells it
          passed += node.send(packet, now) == "default";
        }
        const double want = 10 * c.per_second + c.burst, got = static_cast<double>(passed) * unit;
        EXPECT_NEAR(got, want, 0.02 * want) << c.limit << " at " << times << " times, level " << level_name(level);
      }
}

uint64_t now_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * s + static_cast<uint64_t>(t.tv_nsec);
}

// So many packets, all of them judged between two times (ns).
struct Turn {
  uint64_t begin = 0, end = 0, packets = 0;
};

// Sends the packet to a program at `rate` from this CPU until `end`, in turns of half a ms.
std::vector<Turn> offer(int program, const std::vector<uint8_t>& packet, double rate, uint64_t start, uint64_t end) {
  std::vector<Turn> turns;
  uint64_t sent = 0;
  for (uint64_t now = start; now < end; now = now_ns(CLOCK_MONOTONIC)) {
    const auto due = static_cast<uint64_t>(static_cast<double>(now - start) * rate / 1e9);
    for (; sent < due; ++sent) {  // one by one: a call with more takes 50 ms before it begins
      LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(), .data_size_in = static_cast<__u32>(packet.size()), .repeat = 1, );
      if (bpf_prog_test_run_opts(program, &options)) return {};
      if (turns.empty() || turns.back().begin != now) turns.push_back({now, 0, 0});
      turns.back().end = now_ns(CLOCK_MONOTONIC);
      ++turns.back().packets;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return turns;
}

// Was it offered without a stop that is longer than a part of the burst?  A machine that is busy with other things lets a bucket be
// full, and then what it would have earned is lost.
bool steady(const std::vector<Turn>& turns, uint64_t start, uint64_t longest) {
  uint64_t before = start;
  for (const Turn& turn : turns) {
    if (turn.end > before + longest) return false;
    before = turn.end;
  }
  return !turns.empty();
}

struct Passed {
  double packets = 0, most = 0;  // that passed; the rate and the burst
  bool steady = false;
};

// Offers `times` the rate from so many CPUs at the same time.
Passed offer_from(unsigned cpus, double times, Level level, uint64_t length) {
  constexpr double rate = 500, burst = 50;
  const auto config = config_of("      - { name: r, limit: { rate: 500/s, per: source }, action: drop }\n");
  auto datapath = Datapath::load(config, "a", {.level = level, .replay = false, .trace = false});
  EXPECT_TRUE(datapath) << datapath.error().message();
  const auto packet = from(0xc0000201);
  const uint64_t start = now_ns(CLOCK_MONOTONIC);
  std::vector<std::thread> threads;
  std::vector<std::vector<Turn>> turns(cpus);
  for (unsigned cpu = 0; cpu < cpus; ++cpu)
    threads.emplace_back([&, cpu] {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpu, &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
      const sched_param first{.sched_priority = 5};  // others must not get in the way; it sleeps most of the time
      pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
      turns[cpu] = offer(datapath->program(), packet, rate * times / cpus, start, start + length);
    });
  for (std::thread& t : threads) t.join();
  Passed out;
  out.steady = true;
  uint64_t last = start, offered = 0;
  for (const auto& some : turns) {
    out.steady = out.steady && steady(some, start, 40 * ms);
    for (const Turn& turn : some) last = std::max(last, turn.end), offered += turn.packets;
  }
  out.most = rate * static_cast<double>(last - start) / 1e9 + burst;
  const auto counters = map_memory(datapath->map("counters"));
  const auto info = map_info(datapath->map("counters"));
  EXPECT_TRUE(counters && info);
  const uint32_t stride = info->max_entries / counter_lanes();
  for (const Slot& slot : datapath->slots())
    for (unsigned lane = 0; slot.reason == PS_REASON_DEFAULT && lane < counter_lanes(); ++lane)
      out.packets += static_cast<double>(counters->as<ps_counter>()[lane * stride + slot.number].packets);
  fmt::print("  {} CPUs, {} times the rate, level {}: offered {}, passed {:.0f}: {:+.2f} % of rate and burst{}\n", cpus, times, level_name(level), offered, out.packets,
             100 * (out.packets / out.most - 1), out.steady ? "" : ", but with stops");
  return out;
}

// The same on the real clock, from one CPU and from two at the same time.
TEST(Limits, PassesTheRateFromTwoCpusAtOnce) {
  const char* given = std::getenv("PENSTOCK_LIMIT_SECONDS");
  const uint64_t length = (given ? std::strtoull(given, nullptr, 10) : 1) * s;
  for (const Level level : loadable_levels())
    for (const unsigned cpus : {1u, std::min(2u, std::thread::hardware_concurrency())})
      for (const double times : {1.2, 10.0, 100.0}) {
        Passed passed;
        for (int attempt = 0; attempt < 4 && !passed.steady; ++attempt) {
          passed = offer_from(cpus, times, level, length);
          EXPECT_LE(passed.packets, 1.02 * passed.most);
        }
        if (passed.steady) {
          EXPECT_GE(passed.packets, 0.98 * passed.most);
        } else {
          fmt::print("  this machine is too busy to say whether that was all that may pass\n");
        }
      }
}

// A ban of a rule for each style of action; the rest goes on, in order.
TEST(Limits, StylesInOrder) {
  for (const Level level : loadable_levels()) {
    Node node(
        "      - { name: seen, limit: { rate: 1/s, burst: 1 }, action: continue }\n"
        "      - { name: tried, limit: { rate: 1/s, burst: 2 }, action: drop, audit: yes }\n"
        "      - { name: within, limit: { rate: 1/s, burst: 3 }, action: accept }\n"
        "      - { name: over, limit: { rate: 1/s, burst: 1, ban: 2s }, action: drop }\n"
        "      - { name: rest, action: accept }\n", level);
    const auto exits = [&](uint64_t now) {
      node.datapath.set_now(now);
      const auto outcome = node.datapath.run(from(0xc0000201));
      std::string out;
      if (outcome)
        for (const model::Exit& e : outcome->exits) out += e.rule + ":" + e.verdict + "/" + e.reason + " ";
      return out;
    };
    EXPECT_EQ(exits(s), "within:pass/rule ");
    EXPECT_EQ(exits(s), "seen:continue/rate-limited within:pass/rule ");
    EXPECT_EQ(exits(s), "seen:continue/rate-limited tried:audit/rate-limited within:pass/rule ");
    EXPECT_EQ(exits(s), "seen:continue/rate-limited tried:audit/rate-limited rest:pass/rule ");
    EXPECT_EQ(exits(s), "seen:continue/rate-limited tried:audit/rate-limited over:drop/rate-limited ");
    EXPECT_EQ(exits(s), "seen:continue/rate-limited tried:audit/rate-limited over:drop/banned ");
    EXPECT_EQ(exits(s + 10 * s), "within:pass/rule ");
  }
}

// Bans grow by their factor up to the most, and are forgotten as long after their end.
TEST(Limits, BansGrowOnRepeat) {
  for (const Level level : loadable_levels()) {
    Node node("      - { name: r, limit: { rate: 1/s, ban: { time: 10s, factor: 3, max: 60s } }, action: drop }\n", level);
    const auto packet = from(0xc0000201);
    uint64_t now = 5 * s;
    for (const uint64_t seconds : {10, 30, 60, 60}) {
      EXPECT_EQ(node.send(packet, now), "default");
      EXPECT_EQ(node.send(packet, now), "rate-limited");
      EXPECT_EQ(node.send(packet, now + seconds * s - ms), "banned") << seconds;
      now += seconds * s + 2 * s;
    }
    now += 60 * s;
    EXPECT_EQ(node.send(packet, now), "default");
    EXPECT_EQ(node.send(packet, now), "rate-limited");
    EXPECT_EQ(node.send(packet, now + 9 * s), "banned");
    EXPECT_EQ(node.send(packet, now + 11 * s), "default") << "the past was forgotten";
    const auto ban = find_ban(node.live, node.live.limits.front(), *Address::parse("192.0.2.1"));
    ASSERT_TRUE(ban);
    EXPECT_EQ(ban->times, 1u);
    EXPECT_EQ(ban->prefix.text(), "192.0.2.1");
  }
}

// As many keys as there are entries are counted exactly; a ban table takes as many as it says and never gives one up.
TEST(Limits, HoldsWhatItSays) {
  constexpr uint32_t entries = 4096;
  for (const Level level : loadable_levels()) {
    Node node(fmt::format("      - {{ name: r, limit: {{ rate: 1/min, ban: 1h, entries: {} }}, action: drop }}\n", entries), level);
    const ps_limit& limit = node.live.limits.front();
    const uint64_t now = 10 * s;
    for (uint32_t i = 0; i < entries; ++i) EXPECT_EQ(node.send(from(0x0a000000 + i * 7919), now), "default") << i;
    for (uint32_t i = 0; i < entries; ++i) EXPECT_EQ(node.send(from(0x0a000000 + i * 7919), now), "rate-limited") << i;
    for (uint32_t i = 0; i < entries; ++i) EXPECT_EQ(node.send(from(0x0a000000 + i * 7919), now + s), "banned") << i;
    // Others find neither a bucket nor a ban: they share their prefix's bucket, are limited, and the table refuses.
    uint64_t over = 0;
    for (uint32_t i = 0; i < 8 * entries; ++i) over += node.send(from(0x14000000 + i), now + s) == "rate-limited";
    EXPECT_GT(over, 4 * entries) << "whoever finds no bucket is not unlimited";
    for (uint32_t i = 0; i < entries; ++i) EXPECT_EQ(node.send(from(0x0a000000 + i * 7919), now + 2 * s), "banned") << i;
    const LimitUse use = use_of(node.live, limit);
    EXPECT_GT(use.counts.shared, 0u);
    EXPECT_GT(use.counts.refused, 0u);
    EXPECT_GE(use.counts.banned, entries);
    EXPECT_LE(use.counts.banned, 4 * entries);
  }
}

// A flood of sources that come once neither ends a ban, nor gives the banned a fresh start, nor makes a well-behaved source fail that
// was there before it.
TEST(Limits, AFloodChangesNothingForTheOthers) {
  const uint32_t flood = 200'000;
  for (const Level level : loadable_levels())
    for (const bool slow : {false, true}) {
      Node node(fmt::format("      - {{ name: r, limit: {{ rate: {}, burst: 1, ban: 1h, entries: 1000 }}, action: drop }}\n", slow ? "1/min" : "100/s"), level);
      const uint64_t each = slow ? 90 * s : 15 * ms;  // of the well-behaved: less than the rate
      uint64_t now = 10 * s;
      const auto good = from(0xc0000201), bad = from(0xc0000302);
      for (int i = 0; i < 3; ++i, now += each) EXPECT_EQ(node.send(good, now), "default");
      node.send(bad, now);
      EXPECT_EQ(node.send(bad, now), "rate-limited");
      uint64_t next = now;
      for (uint32_t i = 0; i < flood; ++i) {
        node.send(from(i * 2654435761u), now);
        if (i % 1000 == 0) {
          EXPECT_EQ(node.send(bad, now), "banned");
        }
        if (now >= next) {
          EXPECT_EQ(node.send(good, now), "default") << i << (slow ? " slow" : " fast");
          next = now + each;
        }
        now += slow ? 10 * ms : 10'000;
      }
    }
}

TEST(Limits, UserSpaceAndProgramsSeeTheSameBans) {
  for (const Level level : loadable_levels()) {
    Node node("      - { name: r, limit: { rate: 1/s, per: source/24, ban: 1m }, action: drop }\n", level);
    const ps_limit& limit = node.live.limits.front();
    const uint64_t now = 10 * s;
    ASSERT_TRUE(put_ban(node.live, limit, *Address::parse("192.0.2.77"), PS_TICKS(now), PS_TICKS(now + 60 * s)));
    ASSERT_TRUE(put_ban(node.live, limit, *Address::parse("2001:db8::77"), PS_TICKS(now), PS_TICKS(now + 60 * s)));
    EXPECT_EQ(node.send(from(0xc0000201), now), "banned") << "of its /24";
    EXPECT_EQ(node.send(from(0xc0000301), now), "default");
    EXPECT_EQ(node.send(*packet_from_text("udp [2001:db8::1]:1 > [2001:db8:1::1]:53"), now), "banned") << "of its /64";
    EXPECT_EQ(node.send(*packet_from_text("udp [2001:db8:0:1::1]:1 > [2001:db8:1::1]:53"), now), "default");
    // No IPv6 source is taken for an IPv4 one.
    EXPECT_EQ(node.send(*packet_from_text("udp [0:ffff:c000:200::1]:1 > [2001:db8:1::1]:53"), now), "default");
    std::vector<std::string> listed;
    each_ban(node.live, limit, [&](const LiveBan& ban) { listed.push_back(ban.prefix.text()); });
    std::ranges::sort(listed);
    EXPECT_EQ(listed, (std::vector<std::string>{"192.0.2.0/24", "2001:db8::/64"}));
    remove_ban(node.live, limit, *Address::parse("192.0.2.1"));
    EXPECT_EQ(node.send(from(0xc0000201), now), "default");
    EXPECT_FALSE(find_ban(node.live, limit, *Address::parse("192.0.2.1")));
  }
}

}  // namespace
}  // namespace penstock::packet_test
