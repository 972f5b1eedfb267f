// The flow table against a model in plain C++: which backend each packet goes to while the clock moves and backends come and go;
// and a flood of SYNs that must not cost an established connection its backend.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "core/kernel/bpf.h"
#include "features/services/compile.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

constexpr uint8_t fin = 1, syn = 2, rst = 4, ack = 16;
constexpr uint8_t tcp = 6, udp = 17;
constexpr uint64_t second = 1'000'000'000;

struct Flow {
  uint32_t source;
  uint16_t port;
  uint8_t protocol;
  auto operator<=>(const Flow&) const = default;
};
constexpr uint32_t frontend = 0xc633640a;  // 198.51.100.10

void put(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  while (bytes--) out.push_back(static_cast<uint8_t>(value >> 8 * bytes));
}

void put_ip(std::vector<uint8_t>& out, uint8_t protocol, uint32_t source, uint32_t destination, size_t payload) {
  put(out, 0x4500, 2);
  put(out, 20 + payload, 2);
  put(out, 0, 4);
  put(out, 64, 1);
  put(out, protocol, 1);
  put(out, 0, 2);
  put(out, source, 4);
  put(out, destination, 4);
}

std::vector<uint8_t> frame_of(const Flow& f, uint8_t flags) {
  std::vector<uint8_t> out;
  put(out, 0x020000000001, 6);
  put(out, 0x020000000002, 6);
  put(out, 0x0800, 2);
  put_ip(out, f.protocol, f.source, frontend, f.protocol == tcp ? 20 : 8);
  put(out, f.port, 2);
  put(out, 80, 2);
  if (f.protocol == tcp) {
    put(out, 0, 8);
    put(out, 0x5000u | flags, 2);
    put(out, 0, 6);
  } else {
    put(out, 8, 2);
    put(out, 0, 2);
  }
  return out;
}

// "Host unreachable" about what the backend sent, its first eight bytes quoted.
std::vector<uint8_t> error_about(const Flow& f) {
  std::vector<uint8_t> out;
  put(out, 0x020000000001, 6);
  put(out, 0x020000000002, 6);
  put(out, 0x0800, 2);
  put_ip(out, 1, 0xcb007109, frontend, 8 + 20 + 8);
  put(out, 0x0301, 2);
  put(out, 0, 6);
  put_ip(out, f.protocol, frontend, f.source, f.protocol == tcp ? 20 : 8);
  put(out, 80, 2);
  put(out, f.port, 2);
  put(out, 0, 4);
  return out;
}

// The place in the ring as features/services/hash.h says it in words: MurmurHash3's finalizer over the addresses, then protocol
// and ports; its high 48 bits.
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}
uint32_t place_in_ring(const Flow& f) {
  constexpr uint64_t mapped = 0xffff'0000'0000;
  uint64_t h = mix(mix(0x5851f42d4c957f2d) ^ (mapped | f.source));
  h = mix(mix(h) ^ (mapped | frontend));
  return static_cast<uint32_t>(mix(h ^ (uint64_t{f.protocol} << 32 | uint64_t{f.port} << 16 | 80)) >> 16);
}

// What the documentation says of a connection's life.
class Model {
 public:
  enum class Phase { opening, live, closing, reset, udp };
  struct Entry {
    uint32_t backend;
    Phase phase;
    uint64_t last;
  };
  std::map<Flow, Entry> flows;
  std::vector<uint32_t> ring;
  std::map<uint32_t, ps_backend_state> states;

  static uint64_t idle_after(Phase phase) {
    switch (phase) {
      case Phase::opening: return 30 * second;
      case Phase::live: return 600 * second;
      case Phase::closing: return 60 * second;
      case Phase::reset: return 5 * second;
      case Phase::udp: return 120 * second;
    }
    return 0;
  }
  // Is the time one at which the coarse clock may decide either way?
  bool unsure(const Flow& f, uint64_t now) const {
    const auto at = flows.find(f);
    if (at == flows.end()) return false;
    const uint64_t idle = idle_after(at->second.phase), age = now - at->second.last;
    return age >= idle && age <= idle + (second << 1) + second / 2;
  }
  // The backend that the packet goes to; 0: none.
  uint32_t packet(const Flow& f, uint8_t flags, uint64_t now, bool error) {
    auto at = flows.find(f);
    const bool known = at != flows.end() && at->second.backend && now - at->second.last < idle_after(at->second.phase) && states[at->second.backend] != PS_BACKEND_DOWN;
    const bool opens = f.protocol == tcp && !error && (flags & (syn | ack)) == syn;
    const bool stays = known && !(opens && at->second.phase != Phase::opening);
    const uint32_t backend = stays ? at->second.backend : ring[place_in_ring(f) % ring.size()];
    if (error) return backend;
    if (!stays) {
      const bool forgotten = at == flows.end() && (f.protocol == tcp && flags & rst);
      if (!backend && at == flows.end()) return 0;
      if (!forgotten) flows[f] = {backend, f.protocol == udp ? Phase::udp : Phase::opening, now};
      return backend;
    }
    Entry& e = at->second;
    e.last = now;
    if (f.protocol == udp) return backend;
    if (flags & rst)
      e.phase = Phase::reset;
    else if (flags & fin)
      e.phase = Phase::closing;
    else if (e.phase == Phase::opening && !(flags & syn))
      e.phase = Phase::live;
    return backend;
  }
};

class Flows : public testing::TestWithParam<Level> {
 protected:
  void load(const std::string& flows) {
    auto text = load_config_text("node.yaml", "version: 1\ninterfaces: { a: { match: a } }\nflows: " + flows + "\nservices:\n"
                                 "  web:\n    frontend: [198.51.100.10:80/tcp, 198.51.100.10:80/udp]\n"
                                 "    backends: { b1: { address: 10.0.0.1 }, b2: { address: 10.0.0.2 }, b3: { address: 10.0.0.3, weight: 3 }, b4: { address: 10.0.0.4 }, b5: { address: 10.0.0.5 } }\n");
    ASSERT_TRUE(text) << text.error().message();
    config = std::move(*text);
    auto loaded = Datapath::load(config, "a", {.level = GetParam()});
    ASSERT_TRUE(loaded) << loaded.error().message();
    datapath = std::make_unique<Datapath>(std::move(*loaded));
    auto states = map_memory(datapath->map("service_states")), ring = map_memory(datapath->map("service_ring"));
    ASSERT_TRUE(states && ring);
    states_ = std::move(*states);
    ring_ = std::move(*ring);
    model.ring = ring_of(config.services.front(), ids, {});
  }

  // As an order at run time has it: first the state, then the ring.
  void set(uint32_t id, ps_backend_state state) {
    model.states[id] = state;
    states_.as<ps_service_state>()[id].admin = static_cast<uint8_t>(state);
    std::map<uint32_t, ps_service_state> all;
    for (const uint32_t i : ids) all[i] = states_.as<ps_service_state>()[i];
    model.ring = ring_of(config.services.front(), ids, all);
    std::memcpy(ring_.as<uint32_t>(), model.ring.data(), model.ring.size() * sizeof(uint32_t));
  }

  // The backend's id; 0: none took it.
  uint32_t send(const std::vector<uint8_t>& frame) {
    const auto got = datapath->run(frame);
    EXPECT_TRUE(got) << got.error().message();
    if (!got) return 99;
    const model::Exit& last = got->exits.back();
    if (last.reason == "no-backend") return 0;
    EXPECT_EQ(last.reason, "balanced");
    return last.rule.size() == 2 ? static_cast<uint32_t>(last.rule[1] - '0') : 98;
  }

  ps_flow_counts counts() const {
    std::vector<ps_flow_counts> lanes(counter_lanes());
    const uint32_t zero = 0;
    EXPECT_EQ(bpf_map_lookup_elem(datapath->map("service_flow_counts"), &zero, lanes.data()), 0);
    ps_flow_counts sum{};
    for (const ps_flow_counts& lane : lanes) {
      sum.inserted += lane.inserted;
      sum.evicted += lane.evicted;
      sum.refused += lane.refused;
    }
    return sum;
  }

  const std::vector<uint32_t> ids{1, 2, 3, 4, 5};
  Config config;
  std::unique_ptr<Datapath> datapath;
  Model model;

 private:
  Mapping states_, ring_;
};

TEST_P(Flows, GoWhereTheModelSays) {
  load("{ entries: 256k, tcp-idle: 600 }");
  if (HasFatalFailure()) return;
  std::mt19937_64 random(20);
  const auto below = [&](uint64_t n) { return random() % n; };
  uint64_t now = 1000 * second;
  size_t sent = 0, moved = 0, kept = 0, nobody = 0;
  std::map<Flow, uint32_t> before;
  for (size_t n = 0; n < 40'000; ++n) {
    if (below(400) == 0) set(1 + static_cast<uint32_t>(below(5)), static_cast<ps_backend_state>(below(3)));
    if (below(4000) == 0)
      for (const uint32_t id : ids) set(id, below(2) ? PS_BACKEND_DRAINING : PS_BACKEND_DOWN);
    // Mostly hundredths of a second; now and then so long that connections of some phase are idle.
    constexpr uint64_t steps[] = {4, 29, 33, 59, 63, 119, 123, 599, 603};
    now += below(60) ? below(second / 50) : steps[below(std::size(steps))] * second;
    const Flow f{0xc0000200 + static_cast<uint32_t>(below(40)), static_cast<uint16_t>(1000 + below(2)), below(3) ? tcp : udp};
    if (model.unsure(f, now)) continue;
    const bool error = below(12) == 0;
    constexpr uint8_t kinds[] = {syn, syn, ack, ack, ack, ack, ack, fin | ack, rst, rst | ack, syn | ack, 0};
    const uint8_t flags = kinds[below(std::size(kinds))];
    datapath->set_now(now);
    const uint32_t want = model.packet(f, flags, now, error);
    const uint32_t got = send(error ? error_about(f) : frame_of(f, flags));
    ASSERT_EQ(got, want) << fmt::format("packet {}: {:x}:{} protocol {} flags {:#x}{} at {} ns", n, f.source, f.port, f.protocol, flags, error ? ", an error about it" : "", now);
    ++sent;
    nobody += got == 0;
    if (const auto [at, added] = before.try_emplace(f, got); !added) {
      (at->second == got ? kept : moved)++;
      at->second = got;
    }
  }
  fmt::print("  {} packets: {} stayed, {} moved, {} found nobody\n", sent, kept, moved, nobody);
  EXPECT_GT(moved, sent / 100);
  EXPECT_GT(nobody, 10u);
  EXPECT_EQ(counts().refused, 0u);
}

// A UDP flow keeps its backend for two minutes to the nanosecond, whatever the coarse clock, and then not for ever.
TEST_P(Flows, UdpStaysTwoMinutes) {
  load("{ entries: 256k }");
  if (HasFatalFailure()) return;
  for (uint64_t i = 0; i < 64; ++i) {
    const Flow f{0xc0000200 + static_cast<uint32_t>(i), 4000, udp};
    const uint64_t start = 5000 * second + i * 1000 * second + i * 17'000'003;
    for (const uint32_t id : ids) set(id, PS_BACKEND_UP);
    datapath->set_now(start);
    const uint32_t first = send(frame_of(f, 0));
    set(first, PS_BACKEND_DRAINING);
    datapath->set_now(start + 120 * second);
    ASSERT_EQ(send(frame_of(f, 0)), first) << i;
    datapath->set_now(start + 243 * second);
    ASSERT_NE(send(frame_of(f, 0)), first) << i;
  }
}

TEST_P(Flows, SurviveAFloodOfSyns) {
  load("1k");
  if (HasFatalFailure()) return;
  uint64_t now = 1000 * second;
  datapath->set_now(now);
  constexpr uint32_t established = 1500;  // into 2,048 places
  const uint32_t flood = GetParam() == loadable_levels().front() ? 1'000'000 : 200'000;
  std::vector<uint32_t> backend(established);
  const auto flow = [](uint32_t i) { return Flow{0x0a000000 + i, static_cast<uint16_t>(1024 + i), tcp}; };
  for (uint32_t i = 0; i < established; ++i) {
    backend[i] = send(frame_of(flow(i), syn));
    ASSERT_EQ(send(frame_of(flow(i), ack)), backend[i]);
  }
  const ps_flow_counts before = counts();
  EXPECT_EQ(before.evicted, 0u) << "a connection that lives was evicted";
  EXPECT_EQ(before.inserted + before.refused / 2, established);
  EXPECT_GT(before.refused, 0u) << "no line was full: this tests less than it says";
  // Whoever is forgotten now goes to another backend: none of theirs takes connections.
  for (const uint32_t id : {1u, 2u, 3u, 4u}) set(id, PS_BACKEND_DRAINING);
  for (uint32_t i = 0; i < flood; ++i) {
    if (i % 64 == 0) datapath->set_now(now += second / 1000);
    const auto got = datapath->run(frame_of({0xd0000000u + i * 2654435761u % 0x0f000000u, static_cast<uint16_t>(i), tcp}, syn));
    ASSERT_TRUE(got) << got.error().message();
  }
  const ps_flow_counts after = counts();
  EXPECT_GT(after.evicted, flood / 4);
  EXPECT_GT(after.refused, before.refused);
  EXPECT_EQ(after.inserted + after.refused, before.inserted + before.refused + flood) << "some SYN was neither remembered nor counted as refused";
  uint32_t lost = 0, counted = 0;
  for (uint32_t i = 0; i < established; ++i) {
    if (backend[i] == 5) continue;  // the one that still takes connections
    ++counted;
    lost += send(frame_of(flow(i), ack)) != backend[i];
  }
  EXPECT_GT(counted, established / 2);
  EXPECT_LE(lost, before.refused / 2) << "only those that found no place at first may move";
  fmt::print("  {} established, {} found no place; {} SYNs evicted {}, refused {}; {} of {} moved\n", established, before.refused / 2, flood, after.evicted, after.refused - before.refused, lost, counted);
}

INSTANTIATE_TEST_SUITE_P(Levels, Flows, testing::ValuesIn(loadable_levels()),
                         [](const auto& level) { return std::string(level_name(level.param)); });

}  // namespace
}  // namespace penstock::packet_test
