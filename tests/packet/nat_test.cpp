// Address translation of services against scapy (make_nat.py), at every instruction level that loads here: each byte of what
// leaves; and what happens when places or ports are used up.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "app/compile.h"
#include "app/replay.h"
#include "core/kernel/objects.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

using nlohmann::json;

constexpr uint64_t second = 1'000'000'000, begin = 1'000 * second;

std::vector<uint8_t> bytes(const std::string& hex) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return out;
}
std::string hex(std::span<const uint8_t> bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

// `ports`: of this node, by flow.
std::vector<json> read_scenes(const json& ports) {
  std::vector<json> out;
  const std::string command = fmt::format("/usr/bin/python3 " PENSTOCK_SOURCE "/tests/packet/make_nat.py '{}'", ports.dump());
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::vector<char> line(1 << 20);
  while (pipe && fgets(line.data(), static_cast<int>(line.size()), pipe.get())) out.push_back(json::parse(line.data(), nullptr, false));
  return out;
}

// A file's programs at a level.
struct World {
  Config config;
  Image image;
  std::unique_ptr<Replay> replay;

  static std::unique_ptr<World> open(const std::string& file, Level level) {
    auto world = std::make_unique<World>();
    auto config = load_config_text("node.yaml", file);
    EXPECT_TRUE(config) << config.error().message() << "\n" << file;
    if (!config) return nullptr;
    world->config = std::move(*config);
    auto image = compile(world->config);
    EXPECT_TRUE(image) << image.error().message();
    if (!image) return nullptr;
    world->image = std::move(*image);
    const ReplayOptions options;
    LoadOptions load = Replay::load_options(options);
    load.level = level;
    auto loaded = load_image(world->image, load);
    EXPECT_TRUE(loaded) << loaded.error().message() << "\n" << fmt::format("{}", fmt::join(loaded.error().diagnostics.front().detail, "\n"));
    if (!loaded) return nullptr;
    auto replay = Replay::over(world->image, options, std::move(*loaded));
    EXPECT_TRUE(replay) << replay.error().message();
    if (!replay) return nullptr;
    world->replay = std::make_unique<Replay>(std::move(*replay));
    return world;
  }
  Judged run(std::span<const uint8_t> frame, uint64_t now, bool raw = false) {
    auto judged = replay->run(0, frame, raw, now);
    EXPECT_TRUE(judged) << judged.error().message();
    return judged ? std::move(*judged) : Judged{};
  }
};

std::string reason_of(const Judged& judged) { return judged.decided ? reason_name(judged.decided->reason) : "none"; }

// What the programs chose, of the scenes' flows whose source is translated.
json learn_ports() {
  json ports = json::object();
  for (const json& scene : read_scenes(ports)) {
    const json& first = scene["frames"][0];
    if (!first.contains("learns")) continue;
    const auto world = World::open(scene["file"], loadable_levels().front());
    if (!world) continue;
    const Judged judged = world->run(bytes(first["in"]), begin);
    const size_t at = first["at"];
    if (judged.bytes.size() > at + 1) ports[std::string(first["learns"])] = judged.bytes[at] << 8 | judged.bytes[at + 1];
  }
  return ports;
}

TEST(Nat, EveryByteOfWhatLeaves) {
  stay_on_this_cpu();
  const json ports = learn_ports();
  ASSERT_GE(ports.size(), 20u);
  for (const auto& [flow, port] : ports.items()) EXPECT_TRUE(port >= 20000 && port <= 32767) << flow;
  const std::vector<json> scenes = read_scenes(ports);
  ASSERT_GE(scenes.size(), 40u);
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    for (const json& scene : scenes) {
      ASSERT_TRUE(scene.is_object());
      const auto world = World::open(scene["file"], level);
      ASSERT_TRUE(world);
      uint64_t now = begin;
      for (const json& frame : scene["frames"]) {
        now += frame.value("wait", uint64_t{0}) * second + second / 100;
        SCOPED_TRACE(std::string(frame["name"]));
        const Judged judged = world->run(bytes(frame["in"]), now);
        EXPECT_EQ(verdict_name(judged.verdict), std::string(frame["verdict"]));
        EXPECT_EQ(reason_of(judged), std::string(frame["reason"]));
        EXPECT_EQ(hex(judged.bytes), std::string(frame["out"]));
      }
    }
  }
}

// An IPv4 frame without checksums worth the name, which nobody here looks at; UDP, or TCP with these flags.
std::vector<uint8_t> ipv4(uint32_t source, uint32_t destination, uint16_t sport, uint16_t dport, int tcp_flags = -1) {
  std::vector<uint8_t> out(12, 2);
  const auto put = [&out](uint64_t value, int size) {
    while (size--) out.push_back(static_cast<uint8_t>(value >> 8 * size));
  };
  const bool tcp = tcp_flags >= 0;
  put(0x0800, 2);
  put(0x4500, 2);
  put(20 + (tcp ? 20 : 8), 2);
  put(0x00004000, 4);
  put(64, 1);
  put(tcp ? 6 : 17, 1);
  put(0, 2);
  put(source, 4);
  put(destination, 4);
  put(sport, 2);
  put(dport, 2);
  if (tcp) {
    put(0, 8);
    put(0x5000 | static_cast<uint64_t>(tcp_flags), 2);
    put(0, 6);
  } else {
    put(8, 2);
    put(0, 2);
  }
  return out;
}
uint16_t source_port(const std::vector<uint8_t>& frame) { return static_cast<uint16_t>(frame[34] << 8 | frame[35]); }
uint32_t word_at(const std::vector<uint8_t>& frame, size_t at) { return static_cast<uint32_t>(frame[at] << 24 | frame[at + 1] << 16 | frame[at + 2] << 8 | frame[at + 3]); }

constexpr uint32_t client = 0xc0000207, front = 0xc6336401, other_front = 0xc6336402, back = 0x0a000101, own = 0xc0000008;

// 64 ports: most clients get one, each its own; the others are dropped and counted; what they sent in vain takes nothing from
// those that have one; and when these are idle, their ports are free.
TEST(Nat, PortsThatAreUsedUp) {
  stay_on_this_cpu();
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    const auto world = World::open("version: 1\ninterfaces: { wan: { match: eth0 } }\nflows: { entries: 1024, source-ports: 20000-20063 }\n"
                                   "services: { s: { frontend: 198.51.100.1:53/udp, mode: nat, source-nat: yes, backends: { b: { address: 10.0.1.1 } } } }\n",
                                   level);
    ASSERT_TRUE(world);
    std::map<uint16_t, uint32_t> clients;   // by port
    const auto open = [&](uint32_t from, uint32_t to, uint64_t now) {
      size_t refused = 0;
      for (uint32_t i = from; i < to; ++i) {
        // Twice: an answered question makes no room for others.
        for (int turn = 0; turn < 2; ++turn) {
          const Judged judged = world->run(ipv4(client + i, front, 4000, 53), now);
          if (judged.verdict == PS_DROP) {
            EXPECT_EQ(reason_of(judged), "no-place");
            refused += turn;
            continue;
          }
          EXPECT_EQ(judged.verdict, PS_REDIRECT);
          EXPECT_EQ(word_at(judged.bytes, 26), own);
          const uint16_t port = source_port(judged.bytes);
          EXPECT_TRUE(port >= 20000 && port <= 20063) << port;
          EXPECT_EQ(clients.emplace(port, client + i).first->second, client + i) << "two clients on port " << port;
        }
      }
      return refused;
    };
    EXPECT_EQ(open(0, 40, begin), 0u);
    const size_t refused = open(40, 140, begin);
    EXPECT_EQ(clients.size() + refused, 140u);
    EXPECT_GE(clients.size(), 60u) << "ports lie idle while clients are refused";
    for (const auto& [port, who] : clients) {
      const Judged judged = world->run(ipv4(back, own, 53, port), begin + second);
      EXPECT_EQ(reason_of(judged), "translated");
      EXPECT_EQ(word_at(judged.bytes, 30), who);
    }
    clients.clear();
    EXPECT_EQ(open(1000, 1040, begin + 130 * second), 0u);
  }
}

// A SYN flood makes no room for itself among connections that live, and what finds no place is dropped: its replies would be lost.
TEST(Nat, PlacesThatAreUsedUp) {
  stay_on_this_cpu();
  const auto world = World::open("version: 1\ninterfaces: { wan: { match: eth0 } }\nflows: { entries: 1024 }\n"
                                 "services: { s: { frontend: 198.51.100.1:80/tcp, mode: nat, backends: { b: { address: 10.0.1.1 } } } }\n",
                                 loadable_levels().front());
  ASSERT_TRUE(world);
  size_t living = 0, refused = 0;
  for (uint32_t i = 0; i < 4000; ++i) {
    const Judged first = world->run(ipv4(client + i, front, 4000, 80, 2), begin);
    const Judged next = world->run(ipv4(client + i, front, 4000, 80, 16), begin);
    if (first.verdict == PS_DROP) {
      EXPECT_EQ(reason_of(first), "no-place");
      EXPECT_EQ(next.verdict, PS_DROP);
      ++refused;
      continue;
    }
    ++living;
  }
  EXPECT_GE(living, 1024u);
  EXPECT_GT(refused, 1000u);
  size_t answered = 0;
  for (uint32_t i = 0; i < 4000; ++i) answered += reason_of(world->run(ipv4(back, client + i, 80, 4000, 16), begin + second)) == "translated";
  EXPECT_EQ(answered, living);
}

// One client port, two frontends, one backend: the second connection could not be told from the first, so it is not made.
TEST(Nat, AConnectionThatLooksLikeAnother) {
  stay_on_this_cpu();
  const auto world = World::open("version: 1\ninterfaces: { wan: { match: eth0 } }\n"
                                 "services: { s: { frontend: [198.51.100.1:80/tcp, 198.51.100.2:80/tcp], mode: nat, backends: { b: { address: 10.0.1.1 } } } }\n",
                                 loadable_levels().front());
  ASSERT_TRUE(world);
  EXPECT_EQ(reason_of(world->run(ipv4(client, other_front, 4000, 80, 2), begin)), "balanced");
  EXPECT_EQ(reason_of(world->run(ipv4(client, front, 4000, 80, 2), begin)), "no-place");
  EXPECT_EQ(reason_of(world->run(ipv4(client, front, 4001, 80, 2), begin)), "balanced");
  const Judged judged = world->run(ipv4(back, client, 80, 4000, 18), begin);
  EXPECT_EQ(reason_of(judged), "translated");
  EXPECT_EQ(word_at(judged.bytes, 26), other_front);
  EXPECT_EQ(word_at(world->run(ipv4(back, client, 80, 4001, 18), begin).bytes, 26), front);
}

}  // namespace
}  // namespace penstock::packet_test
