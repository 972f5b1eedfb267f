// A backend's health against a simulated clock: every result is made up, every moment given in.
#include "app/agent/state.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

Health rules(std::chrono::milliseconds interval, std::chrono::milliseconds timeout, uint32_t rise, uint32_t fall) {
  Health h;
  h.check = TcpCheck{};
  h.interval = interval;
  h.timeout = timeout;
  h.rise = rise;
  h.fall = fall;
  return h;
}

// Runs checks of a backend that answers within `answer` while `alive` says so, and falls silent otherwise.
struct Simulation {
  BackendHealth health;
  Health config;
  Moment now{0};
  std::vector<std::pair<Moment, Verdict>> changes{};

  Simulation(const Health& h, BackendHealth::Past past = {}) : health(h, past), config(h) {}
  template <class Alive>
  void run(Moment until, Alive alive, Moment answer = 1ms) {
    while (now < until) {
      const Moment began = now;
      const bool passes = alive(began);
      const Moment ended = began + (passes ? answer : Moment(config.timeout));
      if (health.checked(passes, began, ended)) changes.emplace_back(ended, health.verdict());
      ASSERT_GE(health.next(), ended);  // never two at a time
      now = health.next();
    }
  }
};

TEST(BackendHealth, RisesAndFallsByResultsInARow) {
  BackendHealth h(rules(2s, 1s, 2, 3), {Verdict::up, 0s, 0, false});
  Moment at = 0s;
  const auto give = [&](bool passed) {
    at += 2s;
    return h.checked(passed, at, at);
  };
  for (const bool passed : {true, false, false, true, false, false}) EXPECT_FALSE(give(passed));
  EXPECT_EQ(h.in_a_row(), 2u);
  EXPECT_TRUE(give(false));
  EXPECT_EQ(h.verdict(), Verdict::down);
  EXPECT_EQ(h.since(), at);
  for (const bool passed : {false, true, false, true}) EXPECT_FALSE(give(passed));
  EXPECT_TRUE(give(true));
  EXPECT_EQ(h.verdict(), Verdict::up);
}

TEST(BackendHealth, OneGoodCheckIsEnoughForABackendNobodyKnows) {
  BackendHealth good(rules(2s, 1s, 5, 3), {});
  EXPECT_TRUE(good.checked(true, 0s, 1ms));
  EXPECT_EQ(good.verdict(), Verdict::up);
  EXPECT_EQ(good.weight(2ms), 1000u);
  BackendHealth bad(rules(2s, 1s, 5, 3), {});
  EXPECT_FALSE(bad.checked(false, 0s, 1s));
  EXPECT_FALSE(bad.checked(false, 2s, 3s));
  EXPECT_TRUE(bad.checked(false, 4s, 5s));
  EXPECT_EQ(bad.verdict(), Verdict::down);
}

// The promise: whenever a backend falls silent, it has failed interval * fall after that, even with the longest timeout.
TEST(BackendHealth, ASilentBackendHasFailedWithinIntervalTimesFall) {
  for (const uint32_t fall : {1u, 2u, 3u, 4u, 10u})
    for (const auto interval : {100ms, 500ms, 2000ms, 7000ms})
      for (const auto timeout : {longest_timeout(interval, fall), std::chrono::milliseconds(interval / 2), 10ms})
        for (int step = 0; step < 40; ++step) {
          if (timeout > longest_timeout(interval, fall)) continue;
          const Moment dies = 10 * interval + Moment(interval) * step / 17;
          Simulation s(rules(interval, timeout, 2, fall));
          s.run(dies + 2 * fall * interval, [&](Moment t) { return t < dies; });
          ASSERT_EQ(s.changes.size(), 2u);
          EXPECT_EQ(s.changes[1].second, Verdict::down);
          EXPECT_LE(s.changes[1].first - dies, interval * fall + 1us) << "interval " << interval.count() << " timeout " << timeout.count() << " fall " << fall;
          EXPECT_GT(s.changes[1].first - dies, Moment(interval) * (fall - 1) - Moment(interval)) << "not before it is sure";
        }
}

TEST(BackendHealth, AGoodBackendIsAskedOnceAnInterval) {
  Simulation s(rules(2s, 1s, 2, 3));
  int asked = 0;
  s.run(200s, [&](Moment) { return ++asked > 0; }, 700ms);
  EXPECT_EQ(asked, 100);
  // And a failed one no oftener.
  Simulation down(rules(2s, 1s, 2, 3), {Verdict::down, 0s, 1, false});
  asked = 0;
  down.run(200s, [&](Moment) { return ++asked == 0; });
  EXPECT_EQ(asked, 100);
}

TEST(BackendHealth, FlapsAreDampedAndForgotten) {
  Health h = rules(1s, 500ms, 2, 1);
  h.damping = 60s;
  BackendHealth b(h, {Verdict::up, 0s, 0, false});
  Moment at = 100s;
  const auto fall = [&] {
    at += 1s;
    EXPECT_TRUE(b.checked(false, at, at));
    EXPECT_EQ(b.verdict(), Verdict::down);
  };
  const auto rises_after = [&] {
    for (int n = 1; n < 1000; ++n) {
      at += 1s;
      if (b.checked(true, at, at)) return n;
    }
    return -1;
  };
  for (const int checks : {2, 4, 8, 16, 32, 60, 60}) {  // twice as many each time, at most as many as fit into damping
    fall();
    EXPECT_EQ(b.needed(), static_cast<uint32_t>(checks));
    EXPECT_EQ(rises_after(), checks);
  }
  at += 58s;  // up for less than damping
  fall();
  EXPECT_EQ(rises_after(), 60);
  at += 60s;
  fall();
  EXPECT_EQ(rises_after(), 2);
  // One failure among good checks begins the count anew.
  fall();
  at += 1s;
  b.checked(true, at, at), b.checked(true, at, at), b.checked(true, at, at);
  EXPECT_FALSE(b.checked(false, at, at));
  EXPECT_EQ(rises_after(), 4);
}

TEST(BackendHealth, WithoutDampingEveryRiseIsTheSame) {
  BackendHealth b(rules(1s, 500ms, 2, 1), {Verdict::up, 0s, 0, false});
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(b.checked(false, 0s, 0s));
    EXPECT_FALSE(b.checked(true, 0s, 0s));
    EXPECT_TRUE(b.checked(true, 0s, 0s));
  }
}

TEST(BackendHealth, StartsSlowly) {
  Health h = rules(1s, 500ms, 1, 1);
  h.slow_start = 30s;
  BackendHealth b(h, {Verdict::down, 0s, 1, false});
  EXPECT_EQ(b.weight(50s), 1000u);
  ASSERT_TRUE(b.checked(true, 100s, 100s));
  std::vector<std::pair<Moment, uint32_t>> ramp;
  Moment at = 100s;
  ramp.emplace_back(at - 100s, b.weight(at));
  while (const auto next = b.next_weight(at)) {
    ASSERT_GT(*next, at);
    EXPECT_EQ(b.weight(*next - 1ns), b.weight(at));
    at = *next;
    ramp.emplace_back(at - 100s, b.weight(at));
    ASSERT_LT(ramp.size(), 20u);
  }
  EXPECT_EQ(ramp, (std::vector<std::pair<Moment, uint32_t>>{{0s, 100}, {6s, 200}, {9s, 300}, {12s, 400}, {15s, 500}, {18s, 600}, {21s, 700}, {24s, 800}, {27s, 900}, {30s, 1000}}));
  // An agent that starts again goes on where the other stood.
  BackendHealth heir(h, {Verdict::up, 100s, 1, true});
  EXPECT_EQ(heir.weight(113s), 400u);
  EXPECT_EQ(heir.weight(131s), 1000u);
  // One that never failed has all of its weight, also right after it was first seen.
  EXPECT_EQ(BackendHealth(h, {Verdict::up, 100s, 0, false}).weight(100s), 1000u);
}

TEST(BackendHealth, StartsSlowlyInSecondsAtLeast) {
  Health h = rules(1s, 500ms, 1, 1);
  h.slow_start = 2s;
  BackendHealth b(h, {Verdict::up, 0s, 1, true});
  EXPECT_EQ(b.weight(0s), 100u);
  EXPECT_EQ(b.weight(999ms), 100u);
  EXPECT_EQ(b.weight(1s), 500u);
  EXPECT_EQ(b.weight(2s), 1000u);
}

TEST(BackendHealth, AHeirKeepsWhatStood) {
  const Health h = rules(1s, 500ms, 2, 3);
  BackendHealth down(h, {Verdict::down, 5s, 1, false});
  EXPECT_EQ(down.verdict(), Verdict::down);
  EXPECT_FALSE(down.checked(true, 10s, 10s));
  EXPECT_EQ(down.since(), 5s);
  EXPECT_TRUE(down.checked(true, 11s, 11s));
}

}  // namespace
}  // namespace penstock
