// Generated and mutated packets through generated policies: the bytecode and the model must agree on every exit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "tests/packet/datapath.h"
#include "tests/packet/generate.h"

namespace penstock::packet_test {
namespace {

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

std::string hex(const Frame& frame) {
  std::string out;
  for (const uint8_t byte : frame) out += fmt::format("{:02x}", byte);
  return out;
}

std::string text(const model::Outcome& outcome) {
  std::string out = outcome.verdict;
  for (const model::Exit& exit : outcome.exits) out += " [" + exit.text() + "]";
  return out;
}

// What is wrong with this frame; empty: nothing.
std::string difference(Datapath& datapath, const Config& config, const Frame& frame, size_t linear, bool ethernet) {
  const auto got = datapath.run(frame, linear);
  if (!got) return got.error().message();
  const model::Outcome want = model::judge(config, config.interfaces.front(), frame, {.ethernet = ethernet});
  return *got == want ? "" : fmt::format("bytecode {}, model {}", text(*got), text(want));
}

// The shortest and plainest frame that still shows a difference.
Frame shrink(Datapath& datapath, const Config& config, Frame frame, size_t linear, bool ethernet) {
  const auto fails = [&](const Frame& f) {
    return f.size() >= 14 && f.size() >= linear && !difference(datapath, config, f, linear, ethernet).empty();
  };
  for (size_t step = frame.size() / 2; step > 0; step /= 2) {
    while (frame.size() > step) {
      Frame shorter = frame;
      for (size_t i = 0; i < step; ++i) shorter.pop_back();
      if (!fails(shorter)) break;
      frame = std::move(shorter);
    }
  }
  for (uint8_t& byte : frame) {
    const uint8_t kept = std::exchange(byte, 0);
    if (!fails(frame)) byte = kept;
  }
  return frame;
}

TEST(Property, BytecodeAndModelAgree) {
  const uint64_t seed = number_from("PENSTOCK_SEED", std::random_device{}());
  const uint64_t packets = number_from("PENSTOCK_PACKETS", 2'000'000);
  const uint64_t configs = 60;
  const std::vector<Level> levels = loadable_levels();
  ASSERT_FALSE(levels.empty());
  fmt::print("PENSTOCK_SEED={} PENSTOCK_PACKETS={}\n", seed, packets);

  std::map<std::string, uint64_t> seen;
  for (uint64_t c = 0; c < configs; ++c) {
    Generator generator(seed + c);
    const Config config = generator.config();
    Options options;
    options.level = levels[c % levels.size()];
    options.ethernet = c % 5 != 4;
    auto datapath = Datapath::load(config, "a", options);
    ASSERT_TRUE(datapath) << datapath.error().message();
    // The level `basic` knows frames of one piece only.
    const bool pieces = options.level != Level::basic;
    for (uint64_t n = 0; n < packets / configs; ++n) {
      const Frame frame = generator.frame(options.ethernet, pieces && generator.chance(2) ? 9000 : 1500);
      const size_t linear = pieces && generator.chance(30) ? 14 + generator.below(std::min<size_t>(frame.size(), 3000) - 13) : 0;
      const std::string what = difference(*datapath, config, frame, linear, options.ethernet);
      if (!what.empty()) {
        const Frame small = shrink(*datapath, config, frame, linear, options.ethernet);
        FAIL() << "seed " << seed << ", configuration " << c << ", packet " << n << ", level " << level_name(options.level)
               << (options.ethernet ? "" : ", no Ethernet") << ", linear " << linear << ": " << what << "\n"
               << hex(frame) << "\nshrunk: " << hex(small) << "\n"
               << difference(*datapath, config, small, linear, options.ethernet);
      }
      ++seen[model::judge(config, config.interfaces.front(), frame, {.ethernet = options.ethernet}).exits.back().reason];
    }
  }
  // The packets must have tried everything, or agreement means little.
  for (const char* reason : {"rule", "default", "malformed", "kept-nd", "kept-dhcp", "not-ip", "no-policy"}) {
    fmt::print("  {:10} {}\n", reason, seen[reason]);
    EXPECT_GT(seen[reason], packets / 20'000) << reason;
  }
}

}  // namespace
}  // namespace penstock::packet_test
