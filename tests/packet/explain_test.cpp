// Explain against the model: for generated policies and packets it names the rule that decides and, in order, the rules
// that match behind it; and it writes nothing.
#include "app/explain.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "app/compile.h"
#include "core/net/packet_text.h"
#include "tests/model/model.h"
#include "tests/packet/generate.h"

namespace penstock {
namespace {

// Every rule of the policies on the interface that matches, in order, as the model says: one by one, each is asked when
// those found before are gone.
std::vector<std::string> matching(Config config, const Interface& interface, std::span<const uint8_t> frame) {
  std::vector<std::string> out;
  const std::vector<Policy> policies = config.policies;
  for (const Policy& policy : policies) {
    config.policies = {policy};
    for (;;) {
      const model::Outcome outcome = model::judge(config, interface, frame);
      size_t last = 0;
      for (const model::Exit& exit : outcome.exits) {
        if (exit.rule.empty()) continue;
        out.push_back(exit.policy + "/" + exit.rule);
        ++last;
      }
      if (last == 0) break;
      auto& rules = config.policies[0].rules;
      rules.erase(rules.begin(), std::ranges::find(rules, outcome.exits[last - 1].rule, &Rule::name) + 1);
    }
  }
  return out;
}

TEST(Explain, NamesEveryRuleThatMatches) {
  const char* given = std::getenv("PENSTOCK_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 20;
  size_t with_also = 0, packets = 0;
  for (uint64_t c = 0; c < 12; ++c) {
    packet_test::Generator generator(seed + c);
    Config config = generator.config();
    for (Policy& policy : config.policies)
      for (Rule& rule : policy.rules) rule.limited = false, rule.extensions = {};  // whether they match is no matter of one packet
    const auto image = compile(config);
    ASSERT_TRUE(image) << image.error().message();
    auto replay = Replay::open(*image, {.world = World::replay, .events = true});
    ASSERT_TRUE(replay) << replay.error().message();
    Explainer explainer(config, *image, *replay);
    for (int n = 0; n < 400; ++n) {
      const packet_test::Frame frame = generator.frame(true, 1500);
      ASSERT_TRUE(replay->forget());  // the model has no past here: neither first fragments nor answers given
      const auto explanation = explainer.explain(0, frame, false, 1);
      ASSERT_TRUE(explanation) << explanation.error().message();
      ++packets;
      const model::Outcome outcome = model::judge(config, config.interfaces[0], frame);
      std::vector<std::string> found, want = matching(config, config.interfaces[0], frame);
      EXPECT_EQ(verdict_name(explanation->judged.verdict), outcome.verdict);
      for (const model::Exit& exit : outcome.exits)
        if (!exit.rule.empty()) found.push_back(exit.policy + "/" + exit.rule);
      for (const Slot* slot : explanation->also) found.push_back(slot->policy + "/" + slot->rule);
      std::ranges::sort(found);
      std::ranges::sort(want);
      ASSERT_EQ(fmt::format("{}", found), fmt::format("{}", want)) << "PENSTOCK_SEED=" << seed + c << ", packet " << n;
      // In order: as the rules stand in the file.
      ASSERT_TRUE(std::ranges::is_sorted(explanation->also, {}, [](const Slot* slot) { return std::pair(slot->at.line, slot->at.column); }));
      with_also += !explanation->also.empty();
      ASSERT_FALSE(explanation->steps.empty());
    }
  }
  fmt::print("  {} packets, {} of them match more than one rule\n", packets, with_also);
  EXPECT_GT(with_also, packets / 20);
}

TEST(Explain, WritesNothingAndRepeatsItself) {
  const auto config = load_config_text("node.yaml",
      "version: 1\ninterfaces:\n  wan: { match: a }\nsets:\n  bad: { prefixes: [192.0.2.0/24], counters: yes }\n"
      "policies:\n  edge:\n    attach: [wan.ingress]\n    rules:\n      - { name: bad, from: bad, action: drop }\n      - { name: all, action: accept }\n");
  ASSERT_TRUE(config);
  Known known;
  known.sets.lanes = counter_lanes();
  const auto image = compile(*config, known);
  ASSERT_TRUE(image);
  const auto frame = packet_from_text("udp 192.0.2.1:1 > 192.0.2.2:2");
  // Once as packets are judged, to see that something would be written; once as explain does it.
  for (const World world : {World::replay, World::live}) {
    auto replay = Replay::open(*image, {.world = world, .events = true});
    ASSERT_TRUE(replay) << replay.error().message();
    Explainer explainer(*config, *image, *replay);
    const auto first = explainer.explain(0, *frame, false, 1);
    const auto second = explainer.explain(0, *frame, false, 1);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(explanation_lines(*first, *config), explanation_lines(*second, *config));
    for (const char* name : {"counters", "set_hits"}) {
      const int map = replay->map(name);
      const auto info = map_info(map);
      const auto memory = map_memory(map);
      ASSERT_TRUE(info && memory) << name;
      const auto* bytes = memory->as<const char>();
      const bool written = std::any_of(bytes, bytes + size_t{info->max_entries} * ((info->value_size + 7) / 8 * 8), [](char c) { return c != 0; });
      EXPECT_EQ(written, world == World::replay) << name;
    }
  }
}

}  // namespace
}  // namespace penstock
