// Long lists of rules, sockets of this host, and programs that are loaded to change nothing.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/kernel/bpf.h"
#include "features/policy/tables.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

// A TCP or UDP packet over IPv4 with an Ethernet header; checksums are left 0.
std::vector<uint8_t> packet(uint8_t protocol, uint32_t source, uint16_t source_port, uint32_t destination, uint16_t port) {
  std::vector<uint8_t> f(14 + 20 + 20);
  const auto put = [&](size_t at, uint32_t value, int size) {
    for (int i = 0; i < size; ++i) f[at + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> 8 * (size - 1 - i));
  };
  put(12, 0x0800, 2);
  put(14, 0x45, 1);
  put(16, 40, 2);
  put(22, 64, 1);
  put(23, protocol, 1);
  put(26, source, 4);
  put(30, destination, 4);
  put(34, source_port, 2);
  put(36, port, 2);
  if (protocol == 6)
    put(46, 0x50, 1);
  else
    put(38, 20, 2);
  return f;
}

Config one_policy(std::vector<Rule> rules, Action action) {
  Config config;
  Interface i;
  i.name = "a";
  i.match = {"dev"};
  config.interfaces.push_back(i);
  Policy p;
  p.name = "p";
  p.attach.push_back({"a", {}});
  p.default_action = action;
  p.rules = std::move(rules);
  config.policies.push_back(p);
  return config;
}

Rule port_rule(std::string name, uint16_t port) {
  Rule r;
  r.name = std::move(name);
  r.proto = 6;
  r.to_port.ranges = {{port, port}};
  r.action = Action::drop;
  return r;
}

// Rule n drops port n; the packet to port n must meet exactly rule n, wherever a count of 8 or 16 bits would end.
TEST(Rules, PositionsAtTheEdges) {
  for (const Level level : loadable_levels()) {
    const size_t most = level == Level::may_goto ? 65'535 : PS_RULES_MAX_basic;
    std::vector<Rule> rules;
    for (size_t port = 1; port <= most; ++port) rules.push_back(port_rule("r" + std::to_string(port), static_cast<uint16_t>(port)));
    Rule last;  // entry 65,536 on the best level
    last.name = "last";
    last.proto = 17;
    last.action = Action::drop;
    if (level == Level::may_goto)
      rules.push_back(last);
    else
      rules.back() = last;
    auto datapath = Datapath::load(one_policy(std::move(rules), Action::accept), "a", {.level = level});
    ASSERT_TRUE(datapath) << datapath.error().message();
    for (const size_t port : {1u, 2u, 63u, 64u, 65u, 128u, 255u, 256u, 257u, 4095u, 65'534u, 65'535u}) {
      if (port >= most && level != Level::may_goto) continue;
      const auto got = datapath->run(packet(6, 1, 2, 3, static_cast<uint16_t>(port)));
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(got->exits.back().text(), fmt::format("drop rule p/r{}", port)) << level_name(level);
    }
    const auto got = datapath->run(packet(17, 1, 2, 3, 4));
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(got->exits.back().text(), "drop rule p/last") << level_name(level);
    const auto none = datapath->run(packet(6, 1, 2, 3, 0));
    ASSERT_TRUE(none) << none.error().message();
    EXPECT_EQ(none->exits.back().text(), "pass default p/") << level_name(level);
  }
}

// Few rules are walked entry by entry, and this one is 65 * 65 of them.
TEST(Rules, MoreThanALevelBearsIsRefused) {
  Rule rule = port_rule("r", 1);
  for (uint16_t port = 2; port < 2 * 65; port += 2) {
    rule.from_port.ranges.push_back({port, port});
    rule.to_port.ranges.push_back({static_cast<uint16_t>(port + 1), static_cast<uint16_t>(port + 1)});
  }
  rule.from_port.ranges.push_back({1000, 1000});
  const auto refused = Datapath::load(one_policy({rule}, Action::accept), "a", {.level = Level::basic});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("too many rules"), std::string::npos) << refused.error().message();
}

// Sockets on the loopback device of this network namespace.
struct Socket {
  Fd fd;
  uint16_t port = 0;
  explicit Socket(int type) : fd(socket(AF_INET, type, 0)) {}
  bool bind_loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) return false;
    if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) return false;
    port = ntohs(address.sin_port);
    return true;
  }
};

TEST(Rules, SocketOwnsWhatIsItsOwn) {
  Socket listener(SOCK_STREAM), client(SOCK_STREAM), datagram(SOCK_DGRAM);
  ASSERT_TRUE(listener.bind_loopback() && client.bind_loopback() && datagram.bind_loopback());
  ASSERT_EQ(listen(listener.fd.get(), 1), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(listener.port);
  ASSERT_EQ(connect(client.fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);

  Rule own;
  own.name = "own";
  own.socket = true;
  const Config config = one_policy({own}, Action::drop);
  const uint32_t here = INADDR_LOOPBACK;
  for (const Level level : loadable_levels()) {
    auto live = Datapath::load(config, "a", {.level = level, .replay = false});
    ASSERT_TRUE(live) << live.error().message();
    auto replay = Datapath::load(config, "a", {.level = level, .replay = true});
    ASSERT_TRUE(replay) << replay.error().message();
    const auto exit = [&](Datapath& d, const std::vector<uint8_t>& frame) {
      const auto got = d.run(frame);
      return got ? got->exits.back().text() : got.error().message();
    };
    const auto established = packet(6, here, listener.port, here, client.port);
    EXPECT_EQ(exit(*live, established), "pass rule p/own");
    EXPECT_EQ(exit(*replay, established), "drop default p/");
    EXPECT_EQ(exit(*live, packet(6, here, 1, here, listener.port)), "drop default p/") << "a listening socket owns nothing";
    EXPECT_EQ(exit(*live, packet(17, here, 53, here, datagram.port)), "pass rule p/own");
    EXPECT_EQ(exit(*live, packet(17, here, 53, here, 9)), "drop default p/") << "nobody is bound to port 9";
  }
}


// A TCP packet over IPv6 from and to ::1.
std::vector<uint8_t> packet6(uint16_t source_port, uint16_t port) {
  std::vector<uint8_t> f(14 + 40 + 20);
  f[12] = 0x86, f[13] = 0xdd, f[14] = 0x60;
  f[19] = 20, f[20] = 6, f[21] = 64, f[37] = 1, f[53] = 1;
  f[54] = static_cast<uint8_t>(source_port >> 8), f[55] = static_cast<uint8_t>(source_port);
  f[56] = static_cast<uint8_t>(port >> 8), f[57] = static_cast<uint8_t>(port);
  f[66] = 0x50;
  return f;
}

// Half open and half closed connections are the host's too, over IPv6 as over IPv4.
TEST(Rules, SocketOwnsConnectionsThatBeginAndEnd) {
  const auto bound = [](const Fd& fd) {
    sockaddr_in6 address{};
    socklen_t size = sizeof address;
    return getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0 ? uint16_t{0} : ntohs(address.sin6_port);
  };
  const auto listener = [](bool defer) {
    Fd fd(socket(AF_INET6, SOCK_STREAM, 0));
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    const int seconds = 10;  // a connection stays a request until data comes
    if (defer) {
      EXPECT_EQ(setsockopt(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0);
    }
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  };
  const auto connected = [](uint16_t port) {
    Fd fd(socket(AF_INET6, SOCK_STREAM, 0));
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_addr = in6addr_loopback;
    to.sin6_port = htons(port);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  };
  const Fd plain = listener(false), deferred = listener(true);
  Fd client = connected(bound(plain));
  const Fd half = connected(bound(deferred));
  Fd accepted(accept(plain.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted);
  const uint16_t server_port = bound(plain), client_port = bound(client);

  Rule own;
  own.name = "own";
  own.socket = true;
  const Config config = one_policy({own}, Action::drop);
  const auto exit = [](Datapath& d, const std::vector<uint8_t>& frame) {
    const auto got = d.run(frame);
    return got ? got->exits.back().text() : got.error().message();
  };
  std::vector<Datapath> datapaths;
  for (const Level level : loadable_levels()) {
    auto live = Datapath::load(config, "a", {.level = level, .replay = false});
    ASSERT_TRUE(live) << live.error().message();
    datapaths.push_back(std::move(*live));
  }
  for (Datapath& d : datapaths) {
    EXPECT_EQ(exit(d, packet6(server_port, client_port)), "pass rule p/own") << "established";
    EXPECT_EQ(exit(d, packet6(bound(half), bound(deferred))), "pass rule p/own") << "a request";
    EXPECT_EQ(exit(d, packet6(1, server_port)), "drop default p/") << "a listening socket owns nothing";
    EXPECT_EQ(exit(d, packet6(server_port, 1)), "drop default p/") << "nobody";
  }
  client = Fd();  // closes first: it is the one that waits
  accepted = Fd();
  usleep(50'000);
  for (Datapath& d : datapaths) EXPECT_EQ(exit(d, packet6(server_port, client_port)), "pass rule p/own") << "time-wait";
}

}  // namespace
}  // namespace penstock::packet_test
