// What the plan makes of devices: modes, offloads, frames without an Ethernet header, and the memory of settings.
#include "core/plan/devices.h"

#include <gtest/gtest.h>

#include "core/plan/plan.h"

namespace penstock {
namespace {

HookImage hook(const std::string& interface, std::vector<std::string> match, const std::string& mode = "auto") {
  HookImage h;
  h.interface = interface;
  h.match = std::move(match);
  h.mode = mode;
  h.at = {"node.yaml", 3, 1};
  return h;
}

Plan plan_of(const std::vector<HookImage>& hooks, const std::vector<Device>& devices, const Facts& facts, const Running& running = {}) {
  Image image;
  image.hooks = hooks;
  const auto wanted = attachments_of(hooks, devices);
  return make_plan(image, digests_of(image), {}, running, *wanted, false, facts);
}

std::vector<std::string> texts(const Plan& plan, ActionKind kind) {
  std::vector<std::string> out;
  for (const PlanAction& a : plan.actions)
    if (a.kind == kind) out.push_back(a.subject + ": " + a.text);
  return out;
}

const Device card{2, "eth0", true}, tunnel{3, "tun0", false};

TEST(RawHooks, AreMadeForDevicesWithoutEthernetHeaderOnly) {
  std::vector<HookImage> hooks{hook("wan", {"eth*"}), hook("all", {"tun*", "br0"})};
  add_raw_hooks(hooks, {card}, {});
  EXPECT_EQ(hooks.size(), 2u);
  add_raw_hooks(hooks, {card, tunnel}, {});
  ASSERT_EQ(hooks.size(), 3u);
  EXPECT_EQ(hooks[2].interface, "all");
  EXPECT_TRUE(hooks[2].raw);
  const auto found = attachments_of(hooks, {card, tunnel, {4, "tun1", true}});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].hook, 0u);
  EXPECT_EQ((*found)[1].hook, 2u) << "a tunnel needs the raw program";
  EXPECT_EQ((*found)[2].hook, 1u) << "the name says nothing about the frames";
}

TEST(RawHooks, StayWhenTheirDeviceGoes) {
  std::vector<HookImage> running{hook("all", {"tun*"})}, next = running;
  add_raw_hooks(running, {tunnel}, {});
  add_raw_hooks(next, {}, running);
  EXPECT_EQ(next.size(), 2u);
}

TEST(RawHooks, HaveDigestsOfTheirOwn) {
  Image image;
  image.hooks = {hook("all", {"tun*"})};
  add_raw_hooks(image.hooks, {tunnel}, {});
  const auto digests = digests_of(image);
  ASSERT_TRUE(digests.contains("hook all") && digests.contains("hook all raw"));
  EXPECT_NE(digests.at("hook all"), digests.at("hook all raw"));
}

TEST(Modes, AreForeseenWhereTheKernelTells) {
  Facts facts;
  DeviceFacts& f = facts.devices[card.ifindex];
  f.info.driver = "acme";
  const std::vector<HookImage> hooks{hook("wan", {"eth0"})};
  Plan plan = plan_of(hooks, {card}, facts);
  EXPECT_EQ(texts(plan, ActionKind::attach), std::vector<std::string>{"eth0: attach wan (native, or generic where the driver has no XDP; this kernel does not tell before)"});
  EXPECT_TRUE(plan.fallbacks.empty());
  f.xdp = XdpFeatures{};
  plan = plan_of(hooks, {card}, facts);
  EXPECT_EQ(texts(plan, ActionKind::attach), std::vector<std::string>{"eth0: attach wan (generic: driver acme offers no native XDP)"});
  ASSERT_EQ(plan.fallbacks.size(), 1u);
  EXPECT_EQ(plan.fallbacks[0].at.line, 3u);
  EXPECT_EQ(plan_of({hook("wan", {"eth0"}, "generic")}, {card}, facts).fallbacks.size(), 0u) << "what was asked for needs no warning";
  EXPECT_EQ(plan_of({hook("wan", {"eth0"}, "native")}, {card}, facts).fallbacks.size(), 1u);
  f.xdp->native = true;
  plan = plan_of(hooks, {card}, facts);
  EXPECT_EQ(texts(plan, ActionKind::attach), std::vector<std::string>{"eth0: attach wan (native)"});
  EXPECT_TRUE(plan.fallbacks.empty());
}

TEST(Modes, OffloadIsRefusedAtItsPlace) {
  DeviceFacts f;
  f.info.driver = "acme";
  f.xdp = XdpFeatures{.native = true};
  const Location at{"node.yaml", 7, 20};
  const auto refused = require_offload({card, 0, "offload"}, &f, at);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().diagnostics[0].at.line, 7u);
  EXPECT_NE(refused.error().message().find("eth0"), std::string::npos);
  f.xdp->hardware = true;
  const auto still = require_offload({card, 0, "offload"}, &f, at);
  ASSERT_FALSE(still);
  EXPECT_NE(still.error().message().find("policies"), std::string::npos);
  EXPECT_TRUE(require_offload({card, 0, "native"}, &f, at));
}

TEST(Offloads, AreSwitchedOffBeforeTheAttachAndFixedOnesAreNamed) {
  Facts facts;
  DeviceFacts& f = facts.devices[card.ifindex];
  f.info.driver = "acme";
  f.info.offloads = {{"lro", true, false, false}, {"rx-gro-hw", true, true, false}, {"rx-vlan-offload", true, false, true}, {"rx-vlan-stag-hw-parse", false, false, true}};
  const Plan plan = plan_of({hook("wan", {"eth0"})}, {card}, facts);
  EXPECT_EQ(texts(plan, ActionKind::setting), (std::vector<std::string>{"eth0: lro on -> off: XDP must see single frames", "eth0: rx-vlan-offload on -> off: tags must reach XDP"}));
  EXPECT_EQ(plan.settings, (std::vector<Setting>{{2, "eth0", "lro", true, 0}, {2, "eth0", "rx-vlan-offload", true, 0}}));
  ASSERT_EQ(plan.warnings.size(), 1u);
  EXPECT_NE(plan.warnings[0].message.find("rx-gro-hw"), std::string::npos);
  const auto kind = [&](ActionKind k) { return std::find_if(plan.actions.begin(), plan.actions.end(), [&](const PlanAction& a) { return a.kind == k; }); };
  EXPECT_LT(kind(ActionKind::setting), kind(ActionKind::attach));
}

TEST(Offloads, AreWorthNoWordWhereTheyAreOff) {
  Facts facts;
  facts.devices[card.ifindex].info.offloads = {{"lro", false, false, false}, {"rx-gro-hw", false, true, false}};
  const Plan plan = plan_of({hook("wan", {"eth0"})}, {card}, facts);
  EXPECT_TRUE(plan.settings.empty());
  EXPECT_TRUE(plan.warnings.empty());
}

TEST(Offloads, ComeBackWithADeviceThatLeavesTheFile) {
  Facts facts;
  facts.remembered = {{2, "eth0", "lro", true, 4}, {9, "eth9", "rx-vlan-offload", true, 4}};
  const Plan plan = plan_of({hook("wan", {"eth0"})}, {card}, facts);
  EXPECT_EQ(texts(plan, ActionKind::setting), std::vector<std::string>{"eth9: rx-vlan-offload off -> on, as it was"});
}

TEST(Neighbours, AreNotedInTheirOrder) {
  Facts facts;
  facts.devices[card.ifindex].tc = {{12, "shape", true, true}, {13, "old", false, true}};
  const Plan plan = plan_of({hook("wan", {"eth0"})}, {card}, facts);
  EXPECT_EQ(plan.notes, std::vector<std::string>{"eth0: penstock's program runs first, in XDP; behind it tcx ingress: 12 `shape`, then filter ingress: 13 `old`"});
}

TEST(SettingsMemory, ReadsWhatItWrote) {
  const SettingsMemory memory{"boot", 4026531840, {{2, "eth0", "lro", true, 4}, {3, "eth1", "rx-gro-hw", false, 18446744073709551615u}}};
  const auto back = settings_from_text(settings_text(memory));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->boot, "boot");
  EXPECT_EQ(back->network, 4026531840u);
  EXPECT_EQ(back->settings, memory.settings);
}

TEST(SettingsMemory, RefusesWhatIsDamaged) {
  for (const char* text : {"", "{", "[]", "{}", R"({"format": 2, "boot": "", "network": 0, "settings": []})", R"({"format": 1, "boot": 3, "network": 0, "settings": []})",
                           R"({"format": 1, "boot": "b", "network": 0, "settings": [{"ifindex": 2}]})"})
    EXPECT_FALSE(settings_from_text(text)) << text;
}

TEST(SettingsMemory, KeepsTheFirstOriginal) {
  std::vector<Setting> all{{2, "eth0", "lro", true, 4}};
  merge_settings(all, {{2, "renamed", "lro", false, 7}, {2, "eth0", "rx-gro-hw", true, 7}});
  EXPECT_EQ(all, (std::vector<Setting>{{2, "eth0", "lro", true, 7}, {2, "eth0", "rx-gro-hw", true, 7}}));
}

}  // namespace
}  // namespace penstock
