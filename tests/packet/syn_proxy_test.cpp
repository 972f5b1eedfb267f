// The SYN proxy against scapy and a cookie computed elsewhere (make_syns.py), at every instruction level that loads here:
// every byte of the SYN-ACKs, the cookies that come back, the rate, and what no kernel but the newest can do.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/replay.h"
#include "core/kernel/bpf.h"
#include "core/kernel/tcp.h"
#include "features/syn_proxy/tables.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

using nlohmann::json;

std::vector<uint8_t> bytes(const std::string& hex) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return out;
}

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

std::vector<json> read_syns() {
  std::vector<json> out;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("/usr/bin/python3 " PENSTOCK_SOURCE "/tests/packet/make_syns.py 2>/dev/null", "r"), pclose);
  std::vector<char> line(1 << 16);
  while (pipe && fgets(line.data(), static_cast<int>(line.size()), pipe.get())) out.push_back(json::parse(line.data(), nullptr, false));
  return out;
}

Config config_with(const std::string& rate) {
  auto config = load_config_text("node.yaml", "version: 1\ninterfaces:\n  a: { match: a, syn-proxy: { ports: [80, 443], over: " + rate + " } }\n");
  EXPECT_TRUE(config) << config.error().message();
  return *config;
}

class SynProxy : public testing::TestWithParam<Level> {
 protected:
  // A datapath whose key is make_syns.py's.
  void load(const std::string& rate, bool ethernet = true) {
    auto loaded = Datapath::load(config_with(rate), "a", {.level = GetParam(), .ethernet = ethernet});
    ASSERT_TRUE(loaded) << loaded.error().message() << "\n" << fmt::format("{}", fmt::join(loaded.error().diagnostics.front().detail, "\n"));
    datapath = std::make_unique<Datapath>(std::move(*loaded));
    auto state = map_memory(datapath->map("syn_proxy")), rates = map_memory(datapath->map("syn_rates")), counts = map_memory(datapath->map("counters"));
    ASSERT_TRUE(state && rates && counts);
    state_ = std::move(*state);
    rates_ = std::move(*rates);
    counters_ = std::move(*counts);
    uint8_t key[16];
    for (uint8_t i = 0; i < 16; ++i) key[i] = i;
    std::memcpy(proxy().key, key, sizeof key);
    const auto info = map_info(datapath->map("counters"));
    ASSERT_TRUE(info);
    stride_ = info->max_entries / counter_lanes();
  }
  ps_syn_state& proxy() { return *state_.as<ps_syn_state>(); }
  ps_syn_rate& rate() { return *rates_.as<ps_syn_rate>(); }

  // This second has had more than any rate allows.
  void make_busy(uint64_t now) { rate().second = (now >> PS_SYN_SECOND) << 32 | 0x7fffffff; }

  // Does the program at the tc ingress take the frame for one that brings a cookie back?  Its own counter, and no other.
  bool takes(const std::vector<uint8_t>& frame, uint64_t now) {
    datapath->set_now(now);
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = static_cast<uint32_t>(frame.size()), .repeat = 1);
    EXPECT_EQ(bpf_prog_test_run_opts(datapath->behind(), &run), 0);
    EXPECT_EQ(static_cast<int>(run.retval), -1) << "every packet goes on to the next program";
    uint64_t taken = 0;
    for (const Slot& slot : datapath->slots()) {
      if (slot.reason != PS_REASON_COOKIE_VALID) continue;
      for (unsigned lane = 0; lane < counter_lanes(); ++lane) {
        ps_counter& counter = counters_.as<ps_counter>()[lane * stride_ + slot.number];
        taken += counter.packets;
        counter = {};
      }
    }
    EXPECT_LE(taken, 1u);
    return taken == 1;
  }

  std::unique_ptr<Datapath> datapath;

 private:
  Mapping state_, rates_, counters_;
  uint32_t stride_ = 0;
};

TEST_P(SynProxy, AnswersAreWhatScapyBuilds) {
  const std::vector<json> syns = read_syns();
  ASSERT_GT(syns.size(), 60u) << "make_syns.py needs /usr/bin/python3 with scapy";
  size_t answered = 0, taken = 0, refused = 0;
  for (const bool ethernet : {true, false}) {
    load("1/s", ethernet);
    if (HasFatalFailure()) return;
    if (ethernet) fmt::print("  {}: {} instructions verified\n", level_name(GetParam()), datapath->verified_instructions().value_or(0));
    for (const json& c : syns) {
      if (c["ethernet"] != ethernet) continue;
      SCOPED_TRACE(c["name"].get<std::string>());
      const uint64_t now = c["now"];
      make_busy(now);
      datapath->set_now(now);
      const auto got = datapath->run(bytes(c["hex"]));
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(got->verdict, c["verdict"].get<std::string>());
      EXPECT_EQ(hex(got->answer), c["answer"].get<std::string>());
      EXPECT_EQ(got->exits.back().reason, c["verdict"] == "tx" ? "syn-cookie" : c["verdict"] == "drop" ? "syn-limited" : "no-policy");
      if (!c.contains("ack")) continue;
      ++answered;
      if (datapath->behind() < 0) continue;
      const std::vector<uint8_t> ack = bytes(c["ack"]);
      constexpr uint64_t unit = 1ull << 36;
      EXPECT_EQ(proxy().last, now);
      EXPECT_TRUE(takes(ack, now));
      EXPECT_TRUE(takes(ack, now + 60'000'000'000));
      EXPECT_FALSE(takes(ack, now + 60'000'000'001)) << "no cookie was sent for so long";
      proxy().last = now + 2 * unit;
      EXPECT_TRUE(takes(ack, (now / unit + 2) * unit - 1)) << "the unit behind its own";
      EXPECT_FALSE(takes(ack, (now / unit + 2) * unit)) << "too old";
      proxy().last = now;
      ++taken;
      for (const json& wrong : c["wrong"]) {
        EXPECT_FALSE(takes(bytes(wrong), now)) << wrong;
        ++refused;
      }
    }
  }
  EXPECT_GT(answered, 40u);
  fmt::print("  {} SYNs answered, {} cookies taken, {} refused\n", answered, taken, refused);
}

TEST_P(SynProxy, AnswersOnlyBeyondTheRate) {
  load("100/s");
  if (HasFatalFailure()) return;
  const std::vector<uint8_t> syn = bytes(read_syns().front()["hex"]);
  constexpr uint64_t second = 1ull << PS_SYN_SECOND, start = 1000 * second;
  const auto verdict = [&](uint64_t now) {
    datapath->set_now(now);
    const auto got = datapath->run(syn);
    EXPECT_TRUE(got) << got.error().message();
    return got ? got->verdict : "";
  };
  // 2^30 ns are 1.074 s: 107 SYNs.  At that rate for ten seconds, nothing is answered.
  for (uint64_t s = 0; s < 10; ++s)
    for (uint64_t n = 0; n < 107; ++n) ASSERT_EQ(verdict(start + s * second + n), "pass") << s << ", " << n;
  EXPECT_EQ(proxy().last, 0u);
  // One more is, and all that follow for five seconds, also in seconds that have few.
  EXPECT_EQ(verdict(start + 9 * second + 200), "tx");
  for (uint64_t s = 10; s < 14; ++s) EXPECT_EQ(verdict(start + s * second), "tx");
  EXPECT_EQ(verdict(start + 9 * second + 200 + PS_SYN_HOLD - 1), "tx");
  EXPECT_EQ(verdict(start + 9 * second + 200 + PS_SYN_HOLD), "pass");
}

// The rate as a limit, where the kernel takes no cookies.
TEST(SynProxyWithoutCookies, IsALimit) {
  const Config config = config_with("100/s");
  Known known;
  known.tcp.no_cookies = "an old kernel";
  const auto image = compile(config, known);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->hooks.front().behind, "");
  auto replay = Replay::open(*image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();
  const std::vector<uint8_t> syn = bytes(read_syns().front()["hex"]);
  constexpr uint64_t second = 1ull << PS_SYN_SECOND, start = 1000 * second;
  for (uint64_t s = 0; s < 3; ++s) {
    size_t passed = 0, dropped = 0;
    for (uint64_t n = 0; n < 500; ++n) {
      const auto judged = replay->run(0, syn, false, start + s * second + n);
      ASSERT_TRUE(judged);
      passed += judged->verdict == PS_PASS;
      dropped += judged->verdict == PS_DROP && judged->decided->reason == PS_REASON_SYN_LIMITED;
    }
    EXPECT_EQ(passed, 107u);
    EXPECT_EQ(dropped, 393u);
  }
}

// Replay follows a packet to the tc ingress: a flood, a client's SYN and the cookie that it brings back, behind a tag too.
TEST(SynProxyReplay, TakesCookiesOnTheCapturesClock) {
  if (!kernel_takes_cookies()) GTEST_SKIP() << "this kernel takes no cookies: it has no bpf_sk_assign_tcp_reqsk (since 6.9)";
  const auto image = compile(config_with("1/s"));
  ASSERT_TRUE(image);
  auto replay = Replay::open(*image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();
  auto state = map_memory(replay->map("syn_proxy"));
  ASSERT_TRUE(state);
  uint8_t key[16];
  for (uint8_t i = 0; i < 16; ++i) key[i] = i;
  size_t seen = 0;
  for (const json& c : read_syns()) {
    if (!c.contains("ack") || c["ethernet"] != true) continue;
    SCOPED_TRACE(c["name"].get<std::string>());
    const uint64_t now = c["now"];
    ASSERT_TRUE(replay->forget());
    std::memcpy(state->as<ps_syn_state>()->key, key, sizeof key);
    const std::vector<uint8_t> syn = bytes(c["hex"]);
    ASSERT_TRUE(replay->run(0, syn, false, now));
    const auto answered = replay->run(0, syn, false, now);
    ASSERT_TRUE(answered);
    EXPECT_EQ(hex(answered->bytes), c["answer"].get<std::string>());
    std::vector<uint8_t> ack = bytes(c["ack"]);
    const std::vector<uint8_t> tag(syn.begin() + 12, syn.begin() + 16);
    if (tag[0] == 0x81) ack.insert(ack.begin() + 12, tag.begin(), tag.end());
    const auto taken = replay->run(0, ack, false, now + 1'000'000);
    ASSERT_TRUE(taken) << taken.error().message();
    EXPECT_EQ(taken->verdict, PS_PASS);
    ASSERT_TRUE(taken->decided);
    EXPECT_EQ(taken->decided->reason, PS_REASON_COOKIE_VALID);
    ++seen;
  }
  EXPECT_GT(seen, 40u);
}

INSTANTIATE_TEST_SUITE_P(Levels, SynProxy, testing::ValuesIn(loadable_levels()),
                         [](const auto& level) { return std::string(level_name(level.param)); });

}  // namespace
}  // namespace penstock::packet_test
