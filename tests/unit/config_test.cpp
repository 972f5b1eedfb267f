// Every file of tests/unit/config is read, and must give exactly the errors and warnings that its `#!` lines name:
//   #! error LINE:COLUMN message        #! error FILE:LINE:COLUMN message (of another file)
//   #! warning LINE:COLUMN message
//   #! hint text                        (of the line above; when absent, the hint is not checked)
//   #! detail text                      (likewise)
// A file without errors must be accepted.
#include "app/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace penstock {
namespace {

struct Expected {
  std::string kind, place, message, hint, detail;
};

std::vector<Expected> expectations(const std::filesystem::path& path) {
  std::vector<Expected> out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("#! ")) continue;
    line.erase(0, 3);
    const size_t blank = line.find(' ');
    const std::string kind = line.substr(0, blank), rest = line.substr(blank + 1);
    if (kind == "hint" && !out.empty()) {
      out.back().hint = rest;
    } else if (kind == "detail" && !out.empty()) {
      out.back().detail = rest;
    } else if (kind == "error" || kind == "warning") {
      const size_t end = rest.find(' ');
      out.push_back({kind, rest.substr(0, end), rest.substr(end + 1), {}, {}});
    } else {
      ADD_FAILURE() << path << ": not understood: " << line;
    }
  }
  return out;
}

std::string place(const Location& at, const std::string& file) {
  const std::string where = fmt::format("{}:{}", at.line, at.column);
  return at.file == file ? where : std::filesystem::path(at.file.text()).filename().string() + ":" + where;
}

class ConfigFile : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(ConfigFile, GivesWhatItsCommentsName) {
  const std::vector<Expected> expected = expectations(GetParam());
  const std::string file = GetParam().string();
  const auto config = load_config(file);
  std::vector<std::pair<std::string, Diagnostic>> found;
  if (!config)
    for (const Diagnostic& d : config.error().diagnostics) found.emplace_back("error", d);
  else
    for (const Diagnostic& d : config->warnings) found.emplace_back("warning", d);
  for (size_t i = 0; i < std::max(found.size(), expected.size()); ++i) {
    const std::string what = i < found.size() ? found[i].first + " " + place(found[i].second.at, file) + " " + found[i].second.message : "nothing";
    ASSERT_LT(i, expected.size()) << "not expected: " << what;
    ASSERT_LT(i, found.size()) << "missing: " << expected[i].message;
    EXPECT_EQ(what, expected[i].kind + " " + expected[i].place + " " + expected[i].message);
    const Diagnostic& d = found[i].second;
    if (!expected[i].hint.empty()) {
      EXPECT_EQ(d.hint, expected[i].hint);
    }
    if (!expected[i].detail.empty()) {
      EXPECT_NE(std::ranges::find(d.detail, expected[i].detail), d.detail.end()) << expected[i].detail;
    }
    EXPECT_FALSE(d.source_line.empty()) << what;
  }
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(PENSTOCK_SOURCE "/tests/unit/config"))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, ConfigFile, testing::ValuesIn(files()), [](const auto& info) {
  std::string name = info.param.stem().string();
  std::ranges::replace(name, '-', '_');
  return name;
});

// The example of the design document, key by key.
TEST(Config, DecodesTypedValues) {
  const auto loaded = load_config(PENSTOCK_SOURCE "/tests/unit/config/good.yaml");
  ASSERT_TRUE(loaded) << loaded.error().message();
  const Config& c = *loaded;
  ASSERT_EQ(c.management.size(), 2u);
  EXPECT_EQ(c.management[0], Address::v4(0xc000020a));
  ASSERT_EQ(c.interfaces.size(), 2u);
  EXPECT_EQ(c.interfaces[0].name, "wan");
  EXPECT_EQ(c.interfaces[0].match, std::vector<std::string>{"eth0"});
  EXPECT_EQ(c.interfaces[0].xdp, XdpMode::automatic);
  EXPECT_EQ(c.interfaces[0].malformed, Malformed::drop);
  EXPECT_EQ(c.interfaces[1].xdp, XdpMode::generic);
  EXPECT_EQ(c.interfaces[1].malformed, Malformed::pass);
  EXPECT_TRUE(matches(c.interfaces[1], "veth12"));
  EXPECT_FALSE(matches(c.interfaces[1], "eth0"));

  ASSERT_EQ(c.sets.size(), 2u);
  ASSERT_EQ(c.sets[0].prefixes.size(), 2u);  // sorted: IPv4 lies in ::ffff:0:0/96, before 2001::
  EXPECT_EQ(c.sets[0].prefixes[0], (Prefix{Address::v4(0xcb007100), 124}));
  EXPECT_EQ(c.sets[0].prefixes[1], (Prefix{{0x2001'0db8'0001'0000, 0}, 64}));
  EXPECT_TRUE(c.sets[1].counters);
  EXPECT_EQ(c.sets[1].prefixes.size(), 3u);

  ASSERT_EQ(c.policies.size(), 1u);
  const Policy& p = c.policies[0];
  ASSERT_EQ(p.attach.size(), 1u);
  EXPECT_EQ(p.attach[0].interface, "wan");
  EXPECT_EQ(p.mode, Mode::enforce);
  EXPECT_EQ(p.default_action, Action::drop);
  EXPECT_EQ(p.default_at.line, 17u);
  ASSERT_EQ(p.rules.size(), 6u);
  EXPECT_TRUE(p.rules[0].to.any);
  EXPECT_FALSE(p.rules[0].from.any);
  EXPECT_EQ(p.rules[0].from.sets, std::vector<std::string>{"admins"});
  EXPECT_EQ(p.rules[1].action, Action::drop);
  EXPECT_EQ(p.rules[2].proto, 6);
  EXPECT_EQ(p.rules[2].to_port.ranges, (std::vector<PortRange>{{80, 80}, {443, 443}}));
  EXPECT_TRUE(p.rules[3].from.negate);
  EXPECT_EQ(p.rules[3].from.sets, std::vector<std::string>{"badnets"});
  EXPECT_TRUE(p.rules[3].to.negate);
  EXPECT_EQ(p.rules[3].to.prefixes, (std::vector<Prefix>{{Address::v4(0x0a000000), 104}}));
  EXPECT_EQ(p.rules[3].to.sets, std::vector<std::string>{"admins"});
  EXPECT_TRUE(p.rules[4].socket);
  EXPECT_EQ(p.rules[4].at.line, 23u);
  EXPECT_EQ(p.rules[4].proto, 17);
  // Ranges are sorted and merged where they touch: 1-3, 4, 10-20, 15-30.
  EXPECT_EQ(p.rules[5].to_port.ranges, (std::vector<PortRange>{{1, 4}, {10, 30}}));
  EXPECT_TRUE(p.rules[5].to_port.negate);

  ASSERT_EQ(c.tests.size(), 1u);
  EXPECT_EQ(c.tests[0].times, 6u);
  EXPECT_EQ(c.tests[0].expect, "pass");
  EXPECT_EQ(c.tests[0].rule, "edge/web");
  EXPECT_EQ(c.tests[0].reason, "rule");
}

TEST(Config, ReportsTwentyErrorsAndCountsTheRest) {
  std::string text = "version: 1\n";
  for (int i = 0; i < 25; ++i) text += fmt::format("unknown{}: 1\n", i);
  const auto config = load_config_text("node.yaml", text);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().diagnostics.size(), 20u);
  EXPECT_EQ(config.error().diagnostics.back().detail, std::vector<std::string>{"and 5 more errors, not shown"});
}

TEST(Config, HeaderMatchesAreDecoded) {
  const auto config = load_config(PENSTOCK_SOURCE "/tests/unit/config/headers.yaml");
  ASSERT_TRUE(config) << config.error().message();
  std::map<std::string, Rule> rules;
  for (const Rule& r : config->policies.front().rules) rules[r.name] = r;
  EXPECT_EQ(rules["syn"].flags, (FlagsMatch{0x02, 0x15, 0}));
  EXPECT_EQ(rules["syn"].proto, 6);
  EXPECT_EQ(rules["established"].flags, (FlagsMatch{0, 0, 0x14}));
  EXPECT_EQ(rules["xmas"].flags, (FlagsMatch{0x29, 0x02, 0}));
  EXPECT_EQ(rules["ping"].icmp.kinds, (std::vector<IcmpKind>{{false, 8, {}}, {true, 128, {}}}));
  EXPECT_FALSE(rules["ping"].proto);
  EXPECT_EQ(rules["numbers"].icmp.kinds, (std::vector<IcmpKind>{{false, 8, {}}, {false, 3, 4}}));
  EXPECT_EQ(rules["nd"].proto, 58);
  EXPECT_TRUE(rules["vlans"].vlan.negate);
  EXPECT_EQ(rules["vlans"].vlan.ranges, (std::vector<NumberRange>{{5, 6}, {20, 30}, {4096, 4096}}));
  EXPECT_EQ(rules["tagged"].vlan.ranges, (std::vector<NumberRange>{{0, 4095}}));
  EXPECT_EQ(rules["tagged"].action, Action::continue_);
  EXPECT_EQ(rules["voice"].dscp.ranges, (std::vector<NumberRange>{{34, 34}, {46, 46}, {63, 63}}));
  EXPECT_EQ(rules["near"].ttl.ranges, (std::vector<NumberRange>{{0, 1}, {255, 255}}));
  EXPECT_EQ(rules["near"].length.ranges, (std::vector<NumberRange>{{0, 100}}));
  EXPECT_EQ(rules["fragments"].fragment, FragmentMatch::any);
  EXPECT_EQ(rules["fragments"].options, OptionsMatch::present);
  EXPECT_TRUE(rules["hosts"].mac.negate);
  EXPECT_EQ(rules["hosts"].mac.addresses, (std::vector<Mac>{{{2, 0, 0x5e, 0x10, 0, 1}}, {{2, 0, 0x5e, 0x10, 0, 2}}}));
  EXPECT_EQ(rules["inside"].interface.names, std::vector<std::string>{"lan"});
  EXPECT_TRUE(rules["inside"].audit);
  EXPECT_EQ(rules["ports"].to_port.ranges, (std::vector<PortRange>{{22, 22}, {80, 80}, {443, 443}, {8000, 8099}}));
  EXPECT_TRUE(rules["ports"].from_port.negate);
}

}  // namespace
}  // namespace penstock
