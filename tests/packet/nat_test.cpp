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

}  // namespace
}  // namespace penstock::packet_test
