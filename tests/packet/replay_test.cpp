// Replay, the file's own tests and the risks, on the real programs.  Needs root.
#include "app/replay.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>

#include "app/compile.h"
#include "app/risks.h"
#include "core/net/packet_text.h"

namespace penstock {
namespace {

struct Compiled {
  Config config;
  Image image;
};

Compiled compiled(const std::string& rest) {
  const std::string head =
      "version: 1\n"
      "management: [10.9.0.9]\n"
      "interfaces:\n"
      "  wan: { match: psrisk0 }\n";
  auto config = load_config_text("node.yaml", head + rest);
  EXPECT_TRUE(config) << config.error().message();
  auto image = compile(*config);
  EXPECT_TRUE(image) << image.error().message();
  return {std::move(*config), std::move(*image)};
}

TEST(Replay, TestsOfAFilePassAndFail) {
  const Compiled c = compiled(
      "policies:\n"
      "  edge:\n"
      "    attach: [wan.ingress]\n"
      "    rules:\n"
      "      - { name: bad, from: [198.18.0.0/15], action: drop }\n"
      "tests:\n"
      "  - { packet: \"udp 198.18.0.1:1 > 10.0.0.1:2\", on: wan, expect: drop, reason: rule, rule: edge/bad }\n"
      "  - { packet: \"udp 198.17.0.1:1 > 10.0.0.1:2\", on: wan, times: 3, expect: pass, reason: default }\n"
      "  - { packet: \"udp 198.18.0.1:1 > 10.0.0.1:2\", on: wan, expect: pass }\n"
      "  - { packet: \"udp 198.17.0.1:1 > 10.0.0.1:2\", on: wan, expect: pass, rule: edge/bad }\n"
      "  - { packet: \"upd 198.17.0.1:1 > 10.0.0.1:2\", on: wan, expect: pass }\n");
  const auto report = run_tests(c.config, c.image);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->passed, 2u);
  ASSERT_EQ(report->failures.size(), 3u);
  EXPECT_EQ(report->failures[0].message, "test failed: expected pass, found drop, reason rule, by rule edge/bad (node.yaml:9:9)");
  EXPECT_EQ(report->failures[0].at.line, 13u);
  EXPECT_EQ(report->failures[1].at.line, 14u);
  EXPECT_EQ(report->failures[2].message, "unknown kind of packet `upd`");
  EXPECT_EQ(report->failures[2].at.line, 15u);
  EXPECT_FALSE(require_tests(c.config, c.image));
}

TEST(Replay, ThousandTestsTakeLessThanTwoSeconds) {
  std::string text = "policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: bad, from: [198.18.0.0/15], action: drop }\ntests:\n";
  for (int i = 0; i < 1000; ++i) text += fmt::format("  - {{ packet: \"udp 198.18.{}.{}:1 > 10.0.0.1:2\", on: wan, expect: drop }}\n", i / 250, i % 250);
  const Compiled c = compiled(text);
  const std::clock_t start = std::clock();  // processor time: the machine may be busy
  const auto passed = require_tests(c.config, c.image);
  const std::clock_t took = std::clock() - start;
  ASSERT_TRUE(passed) << passed.error().message();
  EXPECT_EQ(*passed, 1000u);
  fmt::print("  1,000 tests: {} ms of processor time\n", took * 1000 / CLOCKS_PER_SEC);
  EXPECT_LT(took, 2 * CLOCKS_PER_SEC);
}

TEST(Replay, AFailedTestShowsPacketExpectationFindingAndPlace) {
  const Compiled c = compiled(
      "policies:\n"
      "  edge:\n"
      "    attach: [wan.ingress]\n"
      "    rules:\n"
      "      - { name: bad, from: [198.18.0.0/15], action: drop }\n"
      "tests:\n"
      "  - { packet: \"udp 198.18.0.1:1 > 10.0.0.1:2\", on: wan, times: 2, expect: pass, reason: default }\n");
  const auto report = run_tests(c.config, c.image);
  ASSERT_TRUE(report && report->failures.size() == 1);
  const Diagnostic& d = report->failures[0];
  EXPECT_EQ(d.at.text(), "node.yaml:11:5");
  EXPECT_EQ(d.detail, (std::vector<std::string>{"packet:   udp 198.18.0.1:1 > 10.0.0.1:2 on wan, 2 times", "expected: pass, reason default",
                                                "found:    drop, reason rule, by rule edge/bad (node.yaml:9:9)",
                                                "  parse     IPv4 udp 198.18.0.1:1 > 10.0.0.1:2, ttl 64",
                                                "  policy    edge: 1 rule  (node.yaml:6:3)",
                                                "  sets      source 198.18.0.1 is in the rule's own list of prefixes: element 198.18.0.0/15",
                                                "  policy    edge: rule 1 of 1, bad, matches: drop  (node.yaml:9:9)",
                                                "  verdict   drop, reason rule, by rule edge/bad (node.yaml:9:9)",
                                                "              9 | - { name: bad, from: [198.18.0.0/15], action: drop }"}));
}

TEST(Replay, ATestSaysTheTimeBetweenItsPackets) {
  const Compiled c = compiled(
      "tests:\n"
      "  - { packet: \"udp 198.18.0.1:1 > 10.0.0.1:2\", on: wan, times: 3, every: 10ms, expect: drop }\n");
  ASSERT_EQ(c.config.tests.size(), 1u);
  EXPECT_EQ(c.config.tests[0].every, std::chrono::milliseconds(10));
  const auto report = run_tests(c.config, c.image);
  ASSERT_TRUE(report && report->failures.size() == 1);
  EXPECT_EQ(report->failures[0].detail[0], "packet:   udp 198.18.0.1:1 > 10.0.0.1:2 on wan, 3 times, one every 10ms");
  EXPECT_FALSE(load_config_text("node.yaml", "version: 1\ninterfaces:\n  wan: { match: a }\ntests:\n  - { packet: \"udp 1.2.3.4:1 > 1.2.3.4:2\", on: wan, every: 10, expect: pass }\n"));
}

// What one test's packets leave in the state of programs is gone before the next: seen in the maps themselves.
TEST(Replay, StateIsForgottenBetweenTests) {
  const Compiled c = compiled("policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: bad, from: [198.18.0.0/15], action: drop }\n");
  auto replay = Replay::open(c.image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();
  const int counts = replay->map("set_extra_counts");
  ASSERT_GE(counts, 0);
  const uint32_t key = 3, one = 1;
  uint32_t found = 0;
  ASSERT_TRUE(map_update(counts, &key, &one));
  ASSERT_TRUE(replay->forget());
  ASSERT_EQ(bpf_map_lookup_elem(counts, &key, &found), 0);
  EXPECT_EQ(found, 0u);
  const auto frame = packet_from_text("udp 198.18.0.1:1 > 10.0.0.1:2");  // tables are not state
  const auto judged = replay->run(0, *frame, false, 1);
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->verdict, PS_DROP);
}

TEST(Replay, FramesShorterThanAnEthernetHeaderAreMalformed) {
  const std::string rest = "policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: none, from: [198.18.0.0/15], action: drop }\n";
  const Compiled c = compiled(rest);
  auto replay = Replay::open(c.image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();
  const std::vector<uint8_t> frame(20, 0x11);
  for (const size_t length : {0, 1, 13}) {
    const auto judged = replay->run(0, std::span(frame).first(length), false, 1);
    ASSERT_TRUE(judged && judged->decided) << length;
    EXPECT_EQ(judged->verdict, PS_DROP) << length;
    EXPECT_EQ(judged->decided->reason, PS_REASON_MALFORMED) << length;
    EXPECT_EQ(judged->decided->interface, "wan") << length;
    EXPECT_EQ(judged->bytes.size(), length);
  }
  const auto longer = replay->run(0, std::span(frame).first(14), false, 1);  // a type that is not IP
  ASSERT_TRUE(longer && longer->decided);
  EXPECT_EQ(longer->verdict, PS_PASS);
  EXPECT_EQ(longer->decided->reason, PS_REASON_NOT_IP);
  // A raw packet that ends within the IPv4 header.
  const std::vector<uint8_t> raw{0x45, 0, 0, 20, 0, 0, 0, 0};
  const auto cut = replay->run(0, raw, true, 1);
  ASSERT_TRUE(cut && cut->decided);
  EXPECT_EQ(cut->decided->reason, PS_REASON_MALFORMED);
}

TEST(Replay, RawIpIsJudgedLikeItsEthernetFrame) {
  const Compiled c = compiled("policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: dns, proto: udp, to-port: 53, action: drop }\n");
  auto replay = Replay::open(c.image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();
  for (const char* text : {"udp 1.2.3.4:1 > 5.6.7.8:53", "udp 1.2.3.4:1 > 5.6.7.8:54", "udp [::1]:1 > [::2]:53 extensions 2", "udp 1.2.3.4:1 > 5.6.7.8:53 length 8000"}) {
    const auto frame = packet_from_text(text);
    ASSERT_TRUE(frame);
    const auto ethernet = replay->run(0, *frame, false, 1);
    const auto raw = replay->run(0, std::span(*frame).subspan(14), true, 2);
    ASSERT_TRUE(ethernet && raw) << text;
    EXPECT_EQ(ethernet->verdict, std::string_view(text).find("8:54") == std::string_view::npos ? PS_DROP : PS_PASS) << text;
    EXPECT_EQ(raw->verdict, ethernet->verdict) << text;
    ASSERT_TRUE(raw->decided) << text;
    EXPECT_EQ(raw->decided, ethernet->decided) << text;
    EXPECT_EQ(ethernet->bytes, *frame) << text;
  }
}

// A network of its own with one device, which a peer at 10.9.0.9 is behind; gone with the process that made it.
class Risks : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "root is needed";
    ASSERT_EQ(std::system("ip link set lo up && ip link add psrisk0 type veth peer name psrisk1 && ip addr add 10.9.0.1/24 dev psrisk0"
                          " && ip link set psrisk0 up && ip link set psrisk1 up"), 0);
    for (const Device& d : list_devices())
      if (d.name == "psrisk0") attachments = {{d, 0, "auto"}};
    ASSERT_EQ(attachments.size(), 1u);
  }
  std::vector<std::string> names(const std::string& policy) {
    const Compiled c = compiled(policy);
    const auto risks = find_risks(c.config, look_at_host(), c.image, attachments);
    if (risks)
      for (const Diagnostic& w : risks->warnings) ADD_FAILURE() << w.message;
    EXPECT_TRUE(risks) << risks.error().message();
    std::vector<std::string> out;
    if (risks)
      for (const Risk& r : risks->found) {
        EXPECT_FALSE(r.lost.empty() || r.by.empty() || !r.at.known()) << r.name;
        out.push_back(r.name);
      }
    out.erase(std::ranges::unique(out).begin(), out.end());
    return out;
  }
  std::vector<Attachment> attachments;
};

TEST_F(Risks, AreFoundByThePacketsThatWouldBeLost) {
  const std::string head = "policies:\n  edge:\n    attach: [wan.ingress]\n";
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(head + "    default: accept\n    rules:\n      - { name: web, proto: tcp, to-port: 80, action: drop }\n"), Names());
  EXPECT_EQ(names(head + "    default: drop\n    rules:\n      - { name: web, proto: tcp, to-port: 80, action: accept }\n"), (Names{"lose-ssh", "lose-replies"}));
  EXPECT_EQ(names(head + "    default: accept\n    rules:\n      - { name: ssh, proto: tcp, to-port: 22, action: drop }\n"), Names{"lose-ssh"});
  EXPECT_EQ(names(head + "    mode: audit\n    default: drop\n    rules:\n      - { name: ssh, proto: tcp, to-port: 22, action: drop }\n"), Names());
  EXPECT_EQ(names(head + "    default: accept\n    rules:\n      - { name: nd, proto: icmpv6, action: drop }\n"), Names{"lose-nd"});
  EXPECT_EQ(names(head + "    default: accept\n    rules:\n      - { name: dhcp, proto: udp, action: drop }\n"), (Names{"lose-dhcp", "lose-replies"}));
  EXPECT_EQ(names(head + "    default: accept\n    rules:\n      - { name: dhcp, proto: udp, from-port: 67, action: drop }\n"), Names{"lose-dhcp"});
}

TEST_F(Risks, RepliesAreJudgedWithoutAnyResolver) {
  const std::string head = "policies:\n  edge:\n    attach: [wan.ingress]\n    default: drop\n    rules:\n      - { name: ssh, proto: tcp, to-port: 22, action: accept }\n";
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(head), Names{"lose-replies"});
  EXPECT_EQ(names(head + "      - { name: own, socket: yes, action: accept }\n"), Names());
  // A rule that names the answers knows its servers; the time's are still lost.
  EXPECT_EQ(names(head + "      - { name: dns, from: [10.9.0.53], proto: udp, from-port: 53, action: accept }\n"), Names{"lose-replies"});
  EXPECT_EQ(names(head + "      - { name: dns, from: [10.9.0.53], proto: udp, from-port: [53, 123], action: accept }\n"), Names());
  ASSERT_EQ(std::system("ip addr del 10.9.0.1/24 dev psrisk0"), 0);
  // Without an address nothing is answered; what can no longer be judged is said.
  const Compiled c = compiled(head);
  const auto bare = find_risks(c.config, look_at_host(), c.image, attachments);
  ASSERT_TRUE(bare);
  for (const Risk& r : bare->found) EXPECT_NE(r.name, "lose-replies");
  ASSERT_EQ(bare->warnings.size(), 1u);
  EXPECT_EQ(bare->warnings[0].message,
            "could not judge new SSH connections of the management address 10.9.0.9 on psrisk0: there is neither a route to it nor an address of its family");
}

// What is guessed is no risk because one guess is dropped; a leased address needs its router.
TEST_F(Risks, AGuessThatIsDroppedIsNoRisk) {
  using Names = std::vector<std::string>;
  const auto dropping = [&](const std::string& from) {
    return names("policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: bad, from: " + from + ", action: drop }\n");
  };
  EXPECT_EQ(dropping("[192.0.2.0/24, 10.9.0.254, 10.9.0.2]"), Names()) << "documentation's networks, two neighbours";
  EXPECT_EQ(dropping("[10.9.0.2/31, 10.9.0.4/30, 10.9.0.64/26, 10.9.0.128/25]"), Names{"lose-dhcp"}) << "all of the network where a server may be";
  EXPECT_EQ(dropping("[0.0.0.0/5, 9.0.0.0/8, 10.10.0.0/16, 77.0.0.0/8, 128.0.0.0/1]"), Names{"lose-replies"}) << "nearly everything";
  ASSERT_EQ(std::system("ip route add default via 10.9.0.254 dev psrisk0"), 0);
  EXPECT_EQ(dropping("10.9.0.254"), Names()) << "no address is leased";
  ASSERT_EQ(std::system("ip addr change 10.9.0.1/24 dev psrisk0 valid_lft 3600 preferred_lft 3600"), 0);
  EXPECT_EQ(dropping("10.9.0.254"), Names{"lose-dhcp"}) << "leased";
  EXPECT_EQ(dropping("[10.9.0.2, 10.9.0.126/31]"), Names()) << "leased, and its router gets through";
}

// A device in a bridge is judged by what the bridge receives.
TEST_F(Risks, ADeviceBelowABridgeIsJudged) {
  ASSERT_EQ(std::system("ip addr flush dev psrisk0 && ip link add psriskbr type bridge && ip link set psrisk0 master psriskbr"
                        " && ip link set psriskbr up && ip addr add 10.9.0.1/24 dev psriskbr"), 0);
  const auto found = names("policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: ssh, proto: tcp, to-port: 22, action: drop }\n");
  EXPECT_EQ(found, std::vector<std::string>{"lose-ssh"});
}

}  // namespace
}  // namespace penstock
