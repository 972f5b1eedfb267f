// Services against scapy (make_services.py), at every instruction level that loads here: every byte of what leaves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

using nlohmann::json;

const std::vector<json>& read_services() {
  static std::vector<json> out;
  if (!out.empty()) return out;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen("/usr/bin/python3 " PENSTOCK_SOURCE "/tests/packet/make_services.py 2>/dev/null", "r"), pclose);
  std::vector<char> line(1 << 17);
  while (pipe && fgets(line.data(), static_cast<int>(line.size()), pipe.get())) out.push_back(json::parse(line.data(), nullptr, false));
  return out;
}

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

std::vector<uint8_t> masked(std::vector<uint8_t> frame, const std::vector<uint8_t>& mask, uint8_t flip = 0) {
  for (size_t i = 0; i < frame.size(); ++i) frame[i] &= i < mask.size() ? mask[i] ^ flip : 0xff;
  return frame;
}

// RFC 1071: over a header with its checksum, all ones.
uint32_t sum_of(const std::vector<uint8_t>& frame, size_t at, size_t size) {
  uint32_t sum = 0;
  for (size_t i = at; i + 1 < at + size && i + 1 < frame.size(); i += 2) sum += uint32_t{frame[i]} << 8 | frame[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

class Services : public testing::TestWithParam<Level> {};

TEST_P(Services, PacketsLeaveAsScapyBuildsThem) {
  const auto config = load_config(PENSTOCK_SOURCE "/tests/packet/services.yaml");
  ASSERT_TRUE(config) << config.error().message();
  const std::vector<json>& cases = read_services();
  ASSERT_GT(cases.size(), 2000u) << "make_services.py needs /usr/bin/python3 with scapy";
  std::map<std::pair<std::string, bool>, Datapath> datapaths;
  std::map<std::string, std::vector<uint8_t>> free_bits;                  // by flow
  std::map<std::string, std::set<std::vector<uint8_t>>> spread;           // by service
  size_t pieces = 0, failures = 0;
  uint64_t now = 1'000'000'000;
  for (const json& c : cases) {
    ASSERT_TRUE(c.is_object());
    SCOPED_TRACE(fmt::format("{} at level {}", c["name"].get<std::string>(), level_name(GetParam())));
    const std::vector<uint8_t> frame = bytes(c["hex"]);
    const size_t linear = c["linear"];
    if (GetParam() == Level::basic && (linear || frame.size() > 3500)) {  // no frames of several pieces there
      ++pieces;
      continue;
    }
    const std::pair<std::string, bool> key{c["on"], c["ethernet"]};
    auto at = datapaths.find(key);
    if (at == datapaths.end()) {
      Options options;
      options.level = GetParam();
      options.ethernet = key.second;
      if (key.first == "known") options.addresses = {Address::parse("192.0.2.1"), Address::parse("2001:db8::1")};
      auto loaded = Datapath::load(*config, key.first, options);
      ASSERT_TRUE(loaded) << loaded.error().message() << "\n" << fmt::format("{}", fmt::join(loaded.error().diagnostics.front().detail, "\n"));
      fmt::print("  {} {}: {} instructions verified\n", level_name(GetParam()), key.first, loaded->verified_instructions().value_or(0));
      at = datapaths.emplace(key, std::move(*loaded)).first;
    }
    at->second.set_now(now += 1'000'000);  // answers are at their rate
    const auto got = at->second.run(frame, linear);
    if (!got) {
      ADD_FAILURE() << got.error().message();
      if (++failures > 20) FAIL() << "and more";
      continue;
    }
    std::vector<model::Exit> exits{{"pass", "no-policy", "", ""}};
    if (c["reason"] != "") exits.push_back({c["verdict"], c["reason"], c["service"], c["backend"]});
    EXPECT_EQ(got->verdict, c["verdict"].get<std::string>());
    ASSERT_EQ(got->exits.size(), exits.size()) << got->exits.back().text();
    for (size_t i = 0; i < exits.size(); ++i) EXPECT_EQ(got->exits[i].text(), exits[i].text());
    const std::vector<uint8_t> want = bytes(c["out"]), mask = bytes(c["mask"]);
    EXPECT_EQ(hex(masked(got->answer, mask)), hex(masked(want, mask)));
    if (const int header = c["header"]; header >= 0) {
      EXPECT_EQ(sum_of(got->answer, static_cast<size_t>(header), 20), 0xffffu) << "checksum of the outer header";
    }
    if (const std::string flow = c["flow"]; !flow.empty() && got->verdict == "redirect") {
      std::vector<uint8_t> bits = masked(got->answer, mask, 0xff);
      if (const int header = c["header"]; header >= 0) bits[header + 10] = bits[header + 11] = 0;  // the checksum is no choice
      bits.resize(100);
      if (const auto [first, added] = free_bits.try_emplace(flow, bits); !added) {
        EXPECT_EQ(hex(bits), hex(first->second)) << "another outer port, label or source than other packets of the flow";
      }
      if (flow.find("spread") != flow.npos) spread[c["service"]].insert(bits);
    }
    if (HasFailure() && ++failures > 20) FAIL() << "and more";
  }
  // 40 clients of each family at each service: how many ways they look from outside.
  EXPECT_EQ(spread["none4"].size(), 1u);
  EXPECT_EQ(spread["ipip4"].size(), 1u) << "the file names one source";
  for (const char* service : {"ipip6", "gue4", "gue6", "spread4", "spread6"}) EXPECT_GT(spread[service].size(), 70u) << service;
  if (pieces) fmt::print("  {}: {} cases of frames in several pieces left out, this level has none\n", level_name(GetParam()), pieces);
}

INSTANTIATE_TEST_SUITE_P(Levels, Services, testing::ValuesIn(loadable_levels()),
                         [](const auto& level) { return std::string(level_name(level.param)); });

}  // namespace
}  // namespace penstock::packet_test
