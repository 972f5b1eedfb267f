// Generated and mutated packets through generated policies: the bytecode and the model must agree on every exit.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "features/policy/rule_text.h"
#include "tests/packet/datapath.h"
#include "tests/model/packet.h"
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
  return out + (outcome.answer.empty() ? "" : " " + hex(outcome.answer));
}

// What is wrong with the program's reading of the quote in an ICMP error; empty: nothing.
std::string quote_difference(const Datapath& datapath, const model::Read& read) {
  const auto got = datapath.parsed();
  if (!got) return got.error().message();
  if (!(got->outer.flags & PS_QUOTES)) return read.quoted ? "the program sees no error, the model one with a quote" : "";
  const ps_datagram& d = got->quoted;
  if (!read.quoted) return d.flags ? "the program makes sense of a quote, the model does not" : "";
  if (!d.flags) return "the model makes sense of a quote, the program does not";
  const model::Packet& want = *read.quoted;
  const auto host = [&](const ps_address& a) {
    model::Host out{(d.flags & PS_IPV6) != 0, {}};
    const auto wire = Address{a.hi, a.lo}.wire();
    std::copy(wire.begin() + (out.v6 ? 0 : 12), wire.end(), out.bytes.begin());
    return out;
  };
  const bool ports = want.source_port.has_value();
  if (host(d.address[PS_SOURCE]) != want.source || host(d.address[PS_DESTINATION]) != want.destination) return "quoted addresses differ";
  if (d.protocol != want.protocol || d.hop_limit != want.hop_limit) return "quoted protocol or hop limit differs";
  if (((d.flags & PS_LATER_FRAGMENT) != 0) != want.later_fragment) return "quoted fragment differs";
  if (((d.flags & PS_PORTS) != 0) != ports || ((d.flags & PS_ICMP) != 0) != want.icmp_type.has_value()) return "quoted transport differs";
  if (d.port[PS_SOURCE] != want.source_port.value_or(0) || d.port[PS_DESTINATION] != want.destination_port.value_or(0)) return "quoted ports differ";
  if (want.icmp_type && d.icmp_type != *want.icmp_type) return "quoted ICMP type differs";
  return "";
}

// One datapath and the model beside it, with the same past.
struct Pair {
  Datapath& datapath;
  const Config& config;
  bool quotes;
  model::World world;
  model::Memory memory{};
  std::string reason{};  // of the last packet's last exit

  // The table of first fragments has an end, the model's has none: both forget long before.
  void forget_some() {
    if (memory.firsts.size() < PS_FRAGMENTS / 2) return;
    memory.firsts.clear();
    ps_fragment_key key;
    const int map = datapath.map("policy_fragments");
    while (map >= 0 && bpf_map_get_next_key(map, nullptr, &key) == 0 && bpf_map_delete_elem(map, &key) == 0) {
    }
  }

  // What is wrong with this frame; empty: nothing.
  std::string difference(const Frame& frame, size_t linear) {
    datapath.set_now(world.now);
    const auto got = datapath.run(frame, linear);
    if (!got) return got.error().message();
    world.memory = &memory;
    world.length = counted_bytes(frame, linear, world.ethernet);
    const model::Outcome want = model::judge(config, config.interfaces.front(), frame, world);
    reason = want.exits.back().reason;
    if (*got != want) return fmt::format("bytecode {}, model {}", text(*got), text(want));
    const model::Read read = model::read_frame(frame, world.ethernet);
    return quotes && read.kind == model::Kind::ip && read.packet.icmp_type ? quote_difference(datapath, read) : "";
  }
};

// The shortest and plainest frame that still shows a difference.
Frame shrink(Pair& pair, Frame frame, size_t linear) {
  const auto fails = [&](const Frame& f) { return f.size() >= 14 && f.size() >= linear && !pair.difference(f, linear).empty(); };
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

std::string rules_text(const Config& config) {
  std::string out;
  for (const Policy& policy : config.policies)
    for (const Rule& rule : policy.rules) out += fmt::format("{}/{}: {}\n", policy.name, rule.name, rule_text(rule) + (rule.limited ? " limit " + limit_text(*rule.extensions.get<Limit>()) : ""));
  return out;
}

TEST(Property, BytecodeAndModelAgree) {
  const uint64_t seed = number_from("PENSTOCK_SEED", std::random_device{}());
  const uint64_t packets = number_from("PENSTOCK_PACKETS", 2'000'000);
  const uint64_t configs = 60;
  const std::vector<Level> levels = loadable_levels();
  ASSERT_FALSE(levels.empty());
  fmt::print("PENSTOCK_SEED={} PENSTOCK_PACKETS={}\n", seed, packets);
  stay_on_this_cpu();

  std::map<std::string, uint64_t> seen;
  for (uint64_t c = 0; c < configs; ++c) {
    Generator generator(seed + c);
    const Config config = generator.config();
    Options options;
    options.level = levels[c % levels.size()];
    options.ethernet = c % 5 != 4;
    options.quotes = c % 2 == 0;
    if (c % 4 < 2) options.addresses = {Address::v4(0xc0000201), Address{0x20010db8ull << 32, 1}};
    auto datapath = Datapath::load(config, "a", options);
    ASSERT_TRUE(datapath) << "configuration " << c << ", level " << level_name(options.level) << ": " << datapath.error().message() << "\n"
                          << fmt::format("{}", fmt::join(datapath.error().diagnostics.front().detail, "\n"));
    Pair pair{*datapath, config, options.quotes, {}};
    pair.world.ethernet = options.ethernet;
    pair.world.addresses = options.addresses;
    pair.world.now = 1;
    // The level `basic` knows frames of one piece only.
    const bool pieces = options.level != Level::basic;
    for (uint64_t n = 0; n < packets / configs; ++n) {
      const Frame frame = generator.frame(options.ethernet, pieces && generator.chance(2) ? 9000 : 1500);
      const size_t linear = pieces && generator.chance(30) ? 14 + generator.below(std::min<size_t>(frame.size(), 3000) - 13) : 0;
      pair.world.now += generator.below(400) == 0 ? generator.below(200'000'000) : generator.chance(3) ? generator.below(3'000'000) : generator.below(1000) == 0 ? generator.below(2'000'000'000) : 0;
      pair.forget_some();
      const std::string what = pair.difference(frame, linear);
      if (!what.empty()) {
        const Frame small = shrink(pair, frame, linear);
        FAIL() << "seed " << seed << ", configuration " << c << ", packet " << n << ", level " << level_name(options.level)
               << (options.ethernet ? "" : ", no Ethernet") << ", linear " << linear << ": " << what << "\n"
               << hex(frame) << "\n" << rules_text(config) << "shrunk: " << hex(small) << "\n"
               << pair.difference(small, linear);
      }
      if (options.quotes && model::read_frame(frame, options.ethernet).quoted) ++seen["quote"];
      ++seen[pair.reason];
    }
  }
  // The packets must have tried everything, or agreement means little.
  for (const char* reason : {"rule", "default", "malformed", "kept-nd", "kept-dhcp", "not-ip", "no-policy", "quote", "unanswered", "reject-limited", "rate-limited", "banned", "not-wireguard"}) {
    fmt::print("  {:10} {}\n", reason, seen[reason]);
    EXPECT_GT(seen[reason], packets / 20'000) << reason;
  }
}

}  // namespace
}  // namespace penstock::packet_test
