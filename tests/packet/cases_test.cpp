// The fixed cases: packets by scapy, each with what must become of it, at every instruction level that loads here.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/kernel/bpf.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

using nlohmann::json;

std::vector<json> read_cases() {
  std::vector<json> cases;
  const std::string command = "/usr/bin/python3 " PENSTOCK_SOURCE "/tests/packet/make_cases.py 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::vector<char> line(1 << 16);
  while (pipe && fgets(line.data(), static_cast<int>(line.size()), pipe.get())) cases.push_back(json::parse(line.data(), nullptr, false));
  return cases;
}

std::vector<uint8_t> bytes(const std::string& hex) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) out.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return out;
}

Address address(const json& text) { return *Address::parse(text.get<std::string>()); }

// A flow as scapy built it, or null where the quote makes no sense.
void expect_quoted(const json& want, const ps_packet& got) {
  const ps_datagram& q = got.quoted;
  ASSERT_TRUE(got.outer.flags & PS_QUOTES);
  EXPECT_EQ(q.flags != 0, !want.is_null());
  if (want.is_null()) return;
  EXPECT_EQ((Address{q.address[PS_SOURCE].hi, q.address[PS_SOURCE].lo}).text(), address(want["source"]).text());
  EXPECT_EQ((Address{q.address[PS_DESTINATION].hi, q.address[PS_DESTINATION].lo}).text(), address(want["destination"]).text());
  EXPECT_EQ(q.protocol, want["protocol"].get<int>());
  EXPECT_EQ((q.flags & PS_PORTS) != 0, !want["ports"].is_null());
  if (!want["ports"].is_null()) {
    EXPECT_EQ(q.port[PS_SOURCE], want["ports"][0].get<int>());
    EXPECT_EQ(q.port[PS_DESTINATION], want["ports"][1].get<int>());
  }
}

void expect_parsed(const json& want, const ps_packet& got) {
  const ps_datagram& d = got.outer;
  const Address source = address(want["source"]), destination = address(want["destination"]);
  EXPECT_EQ((Address{d.address[PS_SOURCE].hi, d.address[PS_SOURCE].lo}).text(), source.text());
  EXPECT_EQ((Address{d.address[PS_DESTINATION].hi, d.address[PS_DESTINATION].lo}).text(), destination.text());
  if (want.contains("quoted")) expect_quoted(want["quoted"], got);
  EXPECT_EQ(d.flags & (PS_IPV4 | PS_IPV6), source.is_v4() ? PS_IPV4 : PS_IPV6);
  EXPECT_EQ(d.protocol, want["protocol"].get<int>());
  EXPECT_EQ(d.hop_limit, want["hop_limit"].get<int>());
  EXPECT_EQ((d.flags & PS_LATER_FRAGMENT) != 0, want["later"].get<bool>());
  EXPECT_EQ((d.flags & PS_FIRST_FRAGMENT) != 0, want["first"].get<bool>());
  EXPECT_EQ((d.flags & PS_PORTS) != 0, !want["ports"].is_null());
  if (!want["ports"].is_null()) {
    EXPECT_EQ(d.port[PS_SOURCE], want["ports"][0].get<int>());
    EXPECT_EQ(d.port[PS_DESTINATION], want["ports"][1].get<int>());
  }
  if (want.contains("tcp_flags")) {
    EXPECT_EQ(d.tcp_flags, want["tcp_flags"].get<int>());
  }
  if (!want["icmp"].is_null()) {
    EXPECT_EQ(d.icmp_type, want["icmp"][0].get<int>());
    EXPECT_EQ(d.icmp_code, want["icmp"][1].get<int>());
  }
  ASSERT_EQ(got.vlans, want["vlans"].size());
  for (size_t i = 0; i < got.vlans; ++i) EXPECT_EQ(got.vlan[i], want["vlans"][i].get<int>());
}

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

// Of the interface `refuse` alone.
NodeAddresses addresses_of(const std::string& interface) {
  if (interface != "refuse") return {};
  return {Address::parse("192.0.2.1"), Address::parse("2001:db8::1")};
}

class Cases : public testing::TestWithParam<Level> {};

TEST_P(Cases, BecomeWhatTheyMust) {
  stay_on_this_cpu();
  const auto config = load_config(PENSTOCK_SOURCE "/tests/packet/cases.yaml");
  ASSERT_TRUE(config) << config.error().message();
  const std::vector<json> cases = read_cases();
  ASSERT_GT(cases.size(), 80u) << "make_cases.py needs /usr/bin/python3 with scapy";
  std::map<std::pair<std::string, bool>, Datapath> datapaths;
  size_t pieces = 0;
  uint64_t now = 1;
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
      options.quotes = true;
      options.addresses = addresses_of(key.first);
      auto loaded = Datapath::load(*config, key.first, options);
      ASSERT_TRUE(loaded) << loaded.error().message() << "\n" << fmt::format("{}", fmt::join(loaded.error().diagnostics.front().detail, "\n"));
      fmt::print("  {} {}: {} instructions verified\n", level_name(GetParam()), key.first, loaded->verified_instructions().value_or(0));
      at = datapaths.emplace(key, std::move(*loaded)).first;
    }
    at->second.set_now(now += 1'000'000);  // answers are at their rate
    const auto got = at->second.run(frame, linear);
    if (!got) {
      ADD_FAILURE() << got.error().message();
      continue;
    }
    EXPECT_EQ(got->verdict, c["verdict"].get<std::string>());
    EXPECT_EQ(hex(got->answer), c["answer"].get<std::string>());
    std::vector<model::Exit> exits;
    for (const json& e : c["exits"]) exits.push_back({e[0], e[1], e[2], e[3]});
    ASSERT_EQ(got->exits.size(), exits.size());
    for (size_t i = 0; i < exits.size(); ++i) EXPECT_EQ(got->exits[i].text(), exits[i].text());
    if (!c["parsed"].is_null()) {
      const auto parsed = at->second.parsed();
      ASSERT_TRUE(parsed) << parsed.error().message();
      expect_parsed(c["parsed"], *parsed);
    }
  }
  if (pieces) fmt::print("  {}: {} cases of frames in several pieces left out, this level has none\n", level_name(GetParam()), pieces);
}

// The model stands between us and scapy as well: it must say what the cases say.
TEST(Model, AgreesWithTheCases) {
  const auto config = load_config(PENSTOCK_SOURCE "/tests/packet/cases.yaml");
  ASSERT_TRUE(config) << config.error().message();
  std::map<std::pair<std::string, bool>, model::Memory> memories;
  uint64_t now = 1;
  for (const json& c : read_cases()) {
    SCOPED_TRACE(c["name"].get<std::string>());
    model::Memory& memory = memories[{c["on"], c["ethernet"]}];
    now += 1'000'000;
    const auto interface = std::ranges::find(config->interfaces, c["on"].get<std::string>(), &Interface::name);
    const auto got = model::judge(*config, *interface, bytes(c["hex"]), {.ethernet = c["ethernet"], .addresses = addresses_of(c["on"]), .now = now, .memory = &memory});
    EXPECT_EQ(got.verdict, c["verdict"].get<std::string>());
    EXPECT_EQ(hex(got.answer), c["answer"].get<std::string>());
    ASSERT_EQ(got.exits.size(), c["exits"].size());
    for (size_t i = 0; i < got.exits.size(); ++i) {
      const json& e = c["exits"][i];
      EXPECT_EQ(got.exits[i].text(), (model::Exit{e[0], e[1], e[2], e[3]}).text());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Cases, testing::ValuesIn(loadable_levels()),
                         [](const auto& level) { return std::string(level_name(level.param)); });

}  // namespace
}  // namespace penstock::packet_test
