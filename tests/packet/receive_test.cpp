// Encapsulated packets against scapy (make_encapsulated.py) and, mutated, against the model: every byte of what goes on.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "app/replay.h"
#include "tests/packet/datapath.h"
#include "tests/packet/generate.h"

namespace penstock::packet_test {
namespace {

using nlohmann::json;

Frame bytes(const std::string& hex) {
  Frame out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return out;
}

std::string hex(const Frame& bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

std::string text(const model::Outcome& outcome) {
  std::string out = outcome.verdict;
  for (const model::Exit& exit : outcome.exits) out += " [" + exit.text() + "]";
  return out + (outcome.answer.empty() ? "" : " " + hex(outcome.answer));
}

const std::vector<json>& cases() {
  static const std::vector<json> all = [] {
    std::vector<json> out;
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("/usr/bin/python3 " PENSTOCK_SOURCE "/tests/packet/make_encapsulated.py 2>/dev/null", "r"), pclose);
    std::vector<char> line(1 << 17);
    while (pipe && fgets(line.data(), static_cast<int>(line.size()), pipe.get())) out.push_back(json::parse(line.data(), nullptr, false));
    return out;
  }();
  return all;
}

// Interface d takes from anybody, which is another file's.
Config config_of(const std::string& interface) {
  auto config = interface == "d" ? load_config_text("node.yaml", "version: 1\ninterfaces: { d: { match: d } }\nreceive: { decap: [ipip, gue], from: any }\n")
                                 : load_config(PENSTOCK_SOURCE "/tests/packet/receive.yaml");
  EXPECT_TRUE(config) << config.error().message();
  return *config;
}

const Interface& interface_of(const Config& config, const std::string& name) { return *std::ranges::find(config.interfaces, name, &Interface::name); }

class Receiving : public testing::TestWithParam<Level> {
 protected:
  // The datapath of an interface; nullptr where it cannot be loaded.
  Datapath* datapath(const std::string& interface, bool ethernet) {
    const auto key = std::pair(interface, ethernet);
    if (const auto found = datapaths_.find(key); found != datapaths_.end()) return &found->second;
    auto loaded = Datapath::load(config_of(interface), interface, {.level = GetParam(), .ethernet = ethernet});
    EXPECT_TRUE(loaded) << loaded.error().message() << "\n" << fmt::format("{}", fmt::join(loaded.error().diagnostics.front().detail, "\n"));
    if (!loaded) return nullptr;
    fmt::print("  {} {}: {} instructions verified\n", level_name(GetParam()), interface, loaded->verified_instructions().value_or(0));
    return &datapaths_.emplace(key, std::move(*loaded)).first->second;
  }
  static bool in_pieces(size_t linear, size_t size) { return linear || size > 3500; }
  bool knows_pieces() const { return GetParam() != Level::basic; }

 private:
  std::map<std::pair<std::string, bool>, Datapath> datapaths_;
};

TEST_P(Receiving, PacketsBecomeWhatScapyBuilds) {
  ASSERT_GT(cases().size(), 1000u) << "make_encapsulated.py needs /usr/bin/python3 with scapy";
  size_t left_out = 0;
  std::map<std::string, size_t> seen;
  for (const json& c : cases()) {
    ASSERT_TRUE(c.is_object());
    SCOPED_TRACE(c["name"].get<std::string>());
    const Frame frame = bytes(c["hex"]);
    const size_t linear = c["linear"];
    if (in_pieces(linear, frame.size()) && !knows_pieces()) {
      ++left_out;
      continue;
    }
    Datapath* const under_test = datapath(c["on"], c["ethernet"]);
    ASSERT_TRUE(under_test);
    const auto got = under_test->run(frame, linear);
    if (!got) {
      ADD_FAILURE() << got.error().message();
      continue;
    }
    EXPECT_EQ(got->verdict, c["verdict"].get<std::string>());
    EXPECT_EQ(hex(got->answer), c["out"].get<std::string>());
    ASSERT_EQ(got->exits.size(), c["exits"].size()) << text(*got);
    for (size_t i = 0; i < got->exits.size(); ++i) {
      const json& e = c["exits"][i];
      EXPECT_EQ(got->exits[i].text(), (model::Exit{e[0], e[1], e[2], e[3]}).text());
    }
    ++seen[got->exits.back().reason];
  }
  for (const char* reason : {"decapsulated", "decap-nested", "decap-foreign", "decap-fragment", "decap-unsupported", "decap-malformed", "decap-ecn", "no-policy"})
    EXPECT_GT(seen[reason], 0u) << reason;
  if (left_out) fmt::print("  {}: {} cases of frames in several pieces left out, this level has none\n", level_name(GetParam()), left_out);
}

// The model stands between us and scapy as well: it must say what the cases say.
TEST(ReceivingModel, AgreesWithTheCases) {
  for (const json& c : cases()) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Config config = config_of(c["on"]);
    const auto got = model::judge(config, interface_of(config, c["on"]), bytes(c["hex"]), {.ethernet = c["ethernet"], .linear = c["linear"]});
    EXPECT_EQ(got.verdict, c["verdict"].get<std::string>());
    EXPECT_EQ(hex(got.answer), c["out"].get<std::string>());
    EXPECT_EQ(got.exits.back().reason, c["exits"].back()[1].get<std::string>());
  }
}

// Good packets, then mutated: a few bytes overwritten, mostly in the headers, or cut; whole, or in two pieces.
TEST_P(Receiving, MutatedPacketsBecomeWhatTheModelSays) {
  const char* given = std::getenv("PENSTOCK_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  const char* number = std::getenv("PENSTOCK_PACKETS");
  const uint64_t packets = (number ? std::strtoull(number, nullptr, 0) : 2'000'000) / 10;
  fmt::print("  PENSTOCK_SEED={}\n", seed);
  std::mt19937_64 random(seed);
  std::map<std::string, uint64_t> seen;
  const Config config = config_of("a");
  std::vector<std::pair<const json*, Frame>> pool;
  for (const json& c : cases())
    if ((c["on"] == "a" || c["on"] == "b") && c["hex"].get_ref<const std::string&>().size() < 2000) pool.emplace_back(&c, bytes(c["hex"]));
  for (uint64_t n = 0; n < packets; ++n) {
    const auto& [c, good] = pool[random() % pool.size()];
    const bool ethernet = (*c)["ethernet"];
    const std::string on = (*c)["on"];
    Frame frame = good;
    const size_t headers = std::min<size_t>(frame.size(), 110);
    for (uint64_t changes = random() % 4; changes > 0; --changes) {
      uint8_t& byte = frame[random() % headers];
      byte = random() % 2 ? static_cast<uint8_t>(random()) : static_cast<uint8_t>(byte ^ 1u << random() % 8);
    }
    if (random() % 5 == 0) frame.resize(14 + random() % (frame.size() - 13));
    if (frame.size() < 14) frame.resize(14);
    const size_t linear = knows_pieces() && random() % 4 == 0 ? 14 + random() % (frame.size() - 13) : 0;
    Datapath* const under_test = datapath(on, ethernet);
    ASSERT_TRUE(under_test);
    const auto got = under_test->run(frame, linear);
    ASSERT_TRUE(got) << "seed " << seed << ", packet " << n << ", " << (*c)["name"] << ", linear " << linear << ": " << got.error().message() << "\n" << hex(frame);
    const model::Outcome want = model::judge(config, interface_of(config, on), frame, {.ethernet = ethernet, .linear = linear == frame.size() ? 0 : linear});
    ASSERT_EQ(*got, want) << "seed " << seed << ", packet " << n << ", " << (*c)["name"] << ", linear " << linear << "\n" << hex(frame) << "\nbytecode " << text(*got) << "\nmodel    " << text(want);
    ++seen[got->exits.back().reason];
  }
  // The packets must have tried everything, or agreement means little.
  for (const char* reason : {"decapsulated", "decap-nested", "decap-foreign", "decap-fragment", "decap-unsupported", "decap-malformed", "decap-ecn", "no-policy", "malformed", "not-ip"}) {
    fmt::print("  {:18} {}\n", reason, seen[reason]);
    EXPECT_GT(seen[reason], packets / 2000) << reason;
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Receiving, testing::ValuesIn(loadable_levels()),
                         [](const auto& level) { return std::string(level_name(level.param)); });

}  // namespace
}  // namespace penstock::packet_test
