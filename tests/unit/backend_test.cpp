// What doctor finds on a backend, on hosts made up here.
#include "app/backend.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

namespace penstock {
namespace {

Config backend(const std::string& receive) {
  auto config = load_config_text("node.yaml", "version: 1\ninterfaces: { lan: { match: eth0 }, tunnel: { match: tun0 }, other: { match: eth1 } }\nreceive: " + receive + "\n");
  EXPECT_TRUE(config) << config.error().message();
  return *config;
}

struct Host {
  std::vector<OwnAddress> addresses;
  std::map<std::string, int> settings;   // "eth0/arp_ignore"; others are 0
  BackendFacts facts() const {
    BackendFacts out;
    out.devices = {{1, "lo"}, {2, "eth0"}, {3, "tun0"}, {4, "eth1"}};
    out.devices[2].ethernet = false;
    out.addresses = addresses;
    out.setting = [this](const std::string& device, const std::string& name) -> std::optional<int> {
      const auto found = settings.find(device + "/" + name);
      return found == settings.end() ? 0 : found->second;
    };
    return out;
  }
};

// "ok|frontend 198.51.100.10", a line each.
std::vector<std::string> found(const Config& config, const Host& host) {
  std::vector<std::string> out;
  for (const Check& c : check_backend(config, host.facts())) out.push_back(fmt::format("{}|{}", health_name(c.health), c.name));
  return out;
}

const Address front = *Address::parse("198.51.100.10"), front6 = *Address::parse("2001:db8:f::10");
const std::string both = "{ decap: ipip, from: 10.0.0.5, on: lan, frontends: [198.51.100.10, \"2001:db8:f::10\"] }";
using Lines = std::vector<std::string>;

TEST(Backend, NothingWithoutReceive) {
  const auto config = load_config_text("node.yaml", "version: 1\ninterfaces: { lan: { match: eth0 } }\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(found(*config, {}), Lines{});
}

TEST(Backend, AsItShouldBe) {
  const Host host{{{1, front}, {1, front6}}, {{"all/arp_ignore", 1}, {"eth0/arp_announce", 2}, {"eth0/rp_filter", 2}}};
  EXPECT_EQ(found(backend(both), host), (Lines{"ok|frontend 198.51.100.10", "ok|frontend 2001:db8:f::10", "ok|eth0 arp_ignore", "ok|eth0 arp_announce", "ok|eth0 rp_filter"}));
}

TEST(Backend, AsItIsAtFirst) {
  const Host host{{{2, *Address::parse("10.0.1.11"), 120}}, {{"all/rp_filter", 1}}};
  const auto checks = check_backend(backend(both), host.facts());
  EXPECT_EQ(found(backend(both), host), (Lines{"fail|frontend 198.51.100.10", "fail|frontend 2001:db8:f::10", "warn|eth0 arp_ignore", "warn|eth0 arp_announce", "warn|eth0 rp_filter"}));
  EXPECT_EQ(checks[0].remedy, "ip address add 198.51.100.10/32 dev lo");
  EXPECT_EQ(checks[1].remedy, "ip address add 2001:db8:f::10/128 dev lo");
  EXPECT_EQ(checks[2].remedy, "sysctl net.ipv4.conf.eth0.arp_ignore=1");
}

TEST(Backend, FrontendsInTheWrongPlace) {
  const auto checks = check_backend(backend(both), Host{{{1, front, 120}, {2, front6}}, {}}.facts());
  EXPECT_EQ(checks[0].health, Health::warn);
  EXPECT_EQ(checks[0].remedy, "ip address del 198.51.100.10/24 dev lo; ip address add 198.51.100.10/32 dev lo");
  EXPECT_EQ(checks[1].health, Health::warn);
  EXPECT_NE(checks[1].finding.find("on eth0"), std::string::npos);
}

// ARP concerns IPv4 over Ethernet; a loose filter of `all` loosens a strict device, as the kernel has it.
TEST(Backend, OnlyWhatConcernsTheDevice) {
  const Config v6 = backend("{ decap: ipip, from: 10.0.0.5, frontends: \"2001:db8:f::10\" }");
  EXPECT_EQ(found(v6, Host{{{1, front6}}, {}}), (Lines{"ok|frontend 2001:db8:f::10", "ok|eth0 rp_filter", "ok|tun0 rp_filter", "ok|eth1 rp_filter"}));
  const Config tunnel = backend("{ decap: ipip, from: 10.0.0.5, on: tunnel, frontends: 198.51.100.10 }");
  EXPECT_EQ(found(tunnel, Host{{{1, front}}, {{"tun0/rp_filter", 1}}}), (Lines{"ok|frontend 198.51.100.10", "warn|tun0 rp_filter"}));
  EXPECT_EQ(found(tunnel, Host{{{1, front}}, {{"tun0/rp_filter", 1}, {"all/rp_filter", 2}}}), (Lines{"ok|frontend 198.51.100.10", "ok|tun0 rp_filter"}));
  EXPECT_EQ(found(backend("{ decap: ipip, from: 10.0.0.5, on: tunnel }"), {}), (Lines{"ok|receive", "ok|tun0 rp_filter"}));
}

}  // namespace
}  // namespace penstock
