// The agent on a node that is made up, with real checks of sockets on the loopback device.
#include "app/agent/agent.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

namespace penstock {
namespace {

using namespace std::chrono_literals;

struct MadeUp : Datapath {
  uint64_t generation = 1;
  std::vector<WatchedService> now;
  std::map<uint32_t, StoredState> stored;
  size_t updates = 0;
  bool broken = false;

  Result<uint64_t> active() override { return generation; }
  Result<std::vector<WatchedService>> services(uint64_t) override { return now; }
  Result<std::vector<StoredState>> states(std::span<const uint32_t> ids) override {
    std::vector<StoredState> out;
    for (const uint32_t id : ids) out.push_back(stored[id]);
    return out;
  }
  Result<> update(std::span<const StateChange> changes) override {
    if (broken) return fail("it is broken");
    ++updates;
    for (const StateChange& c : changes) stored[c.id] = c.state;
    return {};
  }
};

struct Listener {
  Fd fd;
  uint16_t port = 0;
  Listener() { open(); }
  void open() {
    fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd.get(), 1000), 0);
    socklen_t size = sizeof address;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
};

class AgentTest : public testing::Test {
 protected:
  AgentTest() : loop(std::move(*Loop::make())), http(std::move(*HttpClient::make(loop))) {
    WatchedService web;
    web.name = "web";
    web.health.check = TcpCheck{};
    web.health.interval = 200ms;
    web.health.timeout = 50ms;
    web.health.rise = 2;
    web.health.fall = 3;
    for (uint32_t i = 0; i < 3; ++i) web.backends.push_back({.id = 10 + i, .name = "b" + std::to_string(i + 1), .address = Address::v4(0x7f000001), .port = listeners[i].port});
    node.now = {web};
    start();
  }
  void start(std::optional<HealthReport> past = {}) {
    agent.emplace(loop, *http, node, [this](LogLevel, const std::string& line) { log.push_back(line); }, std::move(past));
    tick = loop.at(loop.now(), [this] {
      agent->look();
      loop.again(tick, loop.now() + 20ms);
      if (condition && condition()) loop.end();
    });
  }
  // Runs the loop until `what` holds; how long that took, or nothing after a minute.
  std::optional<Moment> until(std::function<bool()> what) {
    condition = std::move(what);
    const Moment began = loop.now();
    bool late = false;
    const Source timeout = loop.at(began + 1min, [&] { late = true, loop.end(); });
    EXPECT_TRUE(loop.run());
    const Moment took = loop.now() - began;
    condition = {};
    // The loop is used up: its successor gets an agent that goes on from what the node and the report hold.
    auto past = agent->report();
    tick.reset();
    agent.reset();
    http.reset();
    loop = std::move(*Loop::make());
    http = std::move(*HttpClient::make(loop));
    start(std::move(past));
    return late ? std::nullopt : std::optional(took);
  }
  bool all(std::initializer_list<Verdict> verdicts) {
    uint32_t id = 10;
    for (const Verdict v : verdicts)
      if (node.stored[id++].verdict != v) return false;
    return true;
  }
  bool said(const std::string& text) const {
    return std::ranges::any_of(log, [&](const std::string& line) { return line.find(text) != line.npos; });
  }

  std::array<Listener, 3> listeners;
  MadeUp node;
  std::vector<std::string> log;
  Loop loop;
  std::unique_ptr<HttpClient> http;
  std::optional<Agent> agent;
  Source tick;
  std::function<bool()> condition;
};

TEST_F(AgentTest, FindsOutFailsAndRecovers) {
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::up, Verdict::up}); }));
  EXPECT_TRUE(said("web/b1 is up: its first check passed"));
  listeners[1].fd.reset();
  const auto took = until([&] { return all({Verdict::up, Verdict::down, Verdict::up}); });
  ASSERT_TRUE(took);
  EXPECT_TRUE(said("web/b2 is down: 3 checks in a row failed, the last: cannot connect to 127.0.0.1:" + std::to_string(listeners[1].port) + ": Connection refused"));
  EXPECT_TRUE(node.stored[11].failed);
  EXPECT_LT(wall_ms() - node.stored[11].since, 1000);
  log.clear();
  listeners[1].open();
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::up, Verdict::up}); }));
  EXPECT_TRUE(said("web/b2 is up again after "));
  EXPECT_EQ(std::ranges::count_if(log, [](const std::string& line) { return line.find("web/") != line.npos; }), 1) << "each change is said once";
}

TEST_F(AgentTest, AnHeirChangesNothingByBeginning) {
  node.stored[10] = {Verdict::up, false, 1000, 1000, true};
  node.stored[11] = {Verdict::down, true, 1000, 2000, true};
  node.stored[12] = {Verdict::up, false, 1000, 3000, true};
  node.now[0].health.interval = 1h;
  const auto before = node.stored;
  int turns = 0;
  ASSERT_TRUE(until([&] { return ++turns == 20; }));
  EXPECT_EQ(node.updates, 0u);
  for (const auto& [id, state] : before) EXPECT_EQ(state.since, node.stored[id].since);
}

TEST_F(AgentTest, KeepsAsManyInUseAsTheFileSays) {
  node.now[0].min_backends = 2;
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::up, Verdict::up}); }));
  listeners[0].fd.reset();
  ASSERT_TRUE(until([&] { return all({Verdict::down, Verdict::up, Verdict::up}); }));
  listeners[1].fd.reset();
  ASSERT_TRUE(until([&] { return node.stored[11].failed; }));
  EXPECT_TRUE(all({Verdict::down, Verdict::up, Verdict::up}));
  EXPECT_TRUE(said("web/b2 stays in use though it failed: otherwise fewer than 2 backends would be left (min-backends)"));
  // An operator takes the third out: the one that failed longer ago is needed, too.
  node.stored[12].enabled = false;
  ASSERT_TRUE(until([&] { return node.stored[10].verdict == Verdict::up; }));
  EXPECT_TRUE(node.stored[10].failed);
  node.stored[12].enabled = true;
  ASSERT_TRUE(until([&] { return all({Verdict::down, Verdict::up, Verdict::up}); }));
  listeners[0].open();
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::down, Verdict::up}); }));
  EXPECT_FALSE(node.stored[10].failed);
}

TEST_F(AgentTest, ANewGenerationIsReadAndWhatItLeavesAloneGoesOn) {
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::up, Verdict::up}); }));
  node.generation = 2;
  node.now[0].backends.pop_back();
  WatchedService dns;
  dns.name = "dns";
  dns.health = node.now[0].health;
  dns.backends.push_back({.id = 50, .name = "d1", .address = Address::v4(0x7f000001), .port = listeners[2].port});
  node.now.push_back(dns);
  ASSERT_TRUE(until([&] { return node.stored[50].verdict == Verdict::up; }));
  EXPECT_TRUE(said("generation 2 runs: 3 backends of 2 services checked"));
  EXPECT_TRUE(said("dns/d1 is up"));
  EXPECT_EQ(agent->report().backends.size(), 0u);  // this one has not looked yet
}

TEST_F(AgentTest, WhatCouldNotBeWrittenIsWrittenLater) {
  node.broken = true;
  int turns = 0;
  ASSERT_TRUE(until([&] { return ++turns == 60; }));
  EXPECT_TRUE(said("the datapath was not told: it is broken"));
  EXPECT_EQ(std::ranges::count_if(log, [](const std::string& line) { return line.find("broken") != line.npos; }), 1);
  node.broken = false;
  ASSERT_TRUE(until([&] { return all({Verdict::up, Verdict::up, Verdict::up}); }));
}

TEST_F(AgentTest, SlowStartGrowsInTheNode) {
  node.now[0].health.slow_start = 1s;
  node.stored[10] = {Verdict::down, true, 1000, 1, true};
  std::vector<uint32_t> weights;
  ASSERT_TRUE(until([&] {
    const StoredState& s = node.stored[10];
    if (s.verdict == Verdict::up && (weights.empty() || weights.back() != s.weight)) weights.push_back(s.weight);
    return s.verdict == Verdict::up && s.weight == 1000;
  }));
  EXPECT_EQ(weights, (std::vector<uint32_t>{100, 1000}));
}

TEST(HealthReport, IsReadAsItWasWritten) {
  HealthReport report{.written = 1, .pid = 2, .generation = 3, .backends = {}};
  report.backends.push_back({.service = "web", .backend = "b\"1", .id = 7, .state = "down", .kept = true, .weight = 500, .since = 4, .falls = 2, .in_a_row = 1, .needed = 4, .check = "tcp", .endpoint = "[::1]:80", .checked = 5,
                             .took_ms = 1.5, .error = "caf\xc3\xa9 \xff \n"});
  Instance instance;
  instance.run = testing::TempDir();
  ASSERT_TRUE(write_report(instance, report));
  const auto read = read_report(instance);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->pid, 2);
  const BackendReport* b = (*read)->find("web", "b\"1");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->id, 7u);
  EXPECT_TRUE(b->kept);
  EXPECT_EQ(b->took_ms, 1.5);
  EXPECT_EQ(b->error, "caf\xc3\xa9 \xef\xbf\xbd \n");
  EXPECT_EQ((*read)->find("web", "b2"), nullptr);
  unlink(report_path(instance).c_str());
  const auto none = read_report(instance);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
}

}  // namespace
}  // namespace penstock
