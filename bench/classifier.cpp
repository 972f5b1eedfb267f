// What the classifier costs: bench_classifier OBJECT [RULES...]
// Rounds of the families are interleaved with the empty program; each figure is the minimum of the rounds.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "bench/classifier.h"
#include "tests/model/rule_sets.h"

using namespace penstock;
using namespace penstock::rule_sets;

namespace {

constexpr int rounds = 15;
constexpr unsigned repeat = 400'000;

[[noreturn]] void die(const std::string& what) {
  fmt::print(stderr, "bench: {}\n", what);
  std::exit(1);
}

void put16(uint8_t* at, unsigned value) { at[0] = static_cast<uint8_t>(value >> 8), at[1] = static_cast<uint8_t>(value); }

bench_frame frame_of(const ps_datagram& d) {
  uint8_t f[sizeof(bench_frame)] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  const bool ipv4 = d.flags & PS_IPV4;
  const size_t end = ipv4 ? 60 : 78, transport = 14 + (ipv4 ? 20 : 40);
  put16(f + 12, ipv4 ? 0x0800 : 0x86dd);
  uint8_t* ip = f + 14;
  if (ipv4) {
    ip[0] = 0x45;
    put16(ip + 2, static_cast<unsigned>(end - 14));
    ip[8] = 64;
    ip[9] = d.protocol;
  } else {
    ip[0] = 0x60;
    put16(ip + 4, static_cast<unsigned>(end - 54));
    ip[6] = d.protocol;
    ip[7] = 64;
  }
  for (int side = 0; side < 2; ++side) {
    const auto wire = Address{d.address[side].hi, d.address[side].lo}.wire();
    if (ipv4)
      std::copy(wire.begin() + 12, wire.end(), ip + 12 + 4 * side);
    else
      std::copy(wire.begin(), wire.end(), ip + 8 + 16 * side);
    put16(f + transport + 2 * side, d.port[side]);
  }
  if (d.protocol == 6) f[transport + 12] = 5 << 4;
  if (d.protocol == 17) put16(f + transport + 4, static_cast<unsigned>(end - transport));
  bench_frame out;
  std::memcpy(&out, f, sizeof out);
  return out;
}

template <class T>
void fill(bpf_object* object, const char* map, const std::vector<T>& values) {
  const int fd = bpf_object__find_map_fd_by_name(object, map);
  for (uint32_t i = 0; i < values.size(); ++i)
    if (bpf_map_update_elem(fd, &i, &values[i], BPF_ANY)) die(fmt::format("{}: {}", map, std::strerror(errno)));
}

struct Case {
  std::string name;
  size_t rules;
  bpf_object* object;
  int judge, frame, empty;
  double best[3] = {1e9, 1e9, 1e9};
};

double run(int program) {
  uint8_t data[128] = {};
  LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = sizeof data, .repeat = repeat);
  if (bpf_prog_test_run_opts(program, &o)) die(fmt::format("run: {}", std::strerror(errno)));
  return o.duration;
}

Case prepare(const char* path, Family family, Addresses addresses, size_t count) {
  const auto rules = generate(family, addresses, count, count);
  const auto built = build_classifier(rules);
  if (!built) die("the rules cannot be told in a classifier");
  Random random(1);
  std::vector<bench_frame> frames;
  std::vector<long> expected;
  for (int i = 0; i < BENCH_FRAMES; ++i) {
    ps_datagram d = aim(rules[random() % count], false, random);
    while (d.address[0].hi == 0 && !(d.flags & PS_IPV4)) d = aim(rules[random() % count], false, random);
    frames.push_back(frame_of(d));
    if (i % 64 == 0) expected.push_back(first_match(rules, d));
  }
  bpf_object* object = bpf_object__open(path);
  if (!object) die(fmt::format("cannot open {}", path));
  const auto size = [&](const char* map, size_t n) {
    bpf_map__set_max_entries(bpf_object__find_map_by_name(object, map), static_cast<uint32_t>(std::max<size_t>(n, 1)));
  };
  size("classifier_lines", built->lines.size());
  size("policy_rules", built->residuals.size());
  size("frames", frames.size());
  size("counters", 4 * BENCH_SLOTS);
  if (bpf_object__load(object)) die("the verifier refuses the program");
  ps_policy policy{};
  policy.classified = 1;
  policy.default_verdict = PS_DROP;
  policy.default_slot = policy.kept_nd_slot = policy.kept_dhcp_slot = BENCH_SLOTS - 1;
  fill(object, "policies", std::vector{policy});
  fill(object, "classifiers", std::vector{built->descriptor});
  fill(object, "classifier_lines", built->lines);
  fill(object, "policy_rules", built->residuals);
  fill(object, "frames", frames);
  const auto program = [&](const char* name) { return bpf_program__fd(bpf_object__find_program_by_name(object, name)); };
  Case c{fmt::format("{}, {}", name(family), name(addresses)), count, object, program("bench_judge"), program("bench_frame"), program("bench_empty")};
  bpf_prog_info info{};
  uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(c.judge, &info, &length)) die("no information on the program");
  c.name += fmt::format(" ({} tuples, {} KiB, {} verified)", built->descriptor.tuples, built->lines.size() / 16, info.verified_insns);
  return c;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) die("usage: bench_classifier OBJECT [RULES...]");
  std::vector<size_t> counts;
  for (int i = 2; i < argc; ++i) counts.push_back(std::strtoul(argv[i], nullptr, 10));
  if (counts.empty()) counts = {10, 1000, 10000};
  for (const size_t count : counts) {
    std::vector<Case> cases;
    for (const Addresses a : getenv("V4") ? std::vector{Addresses::ipv4} : std::vector{Addresses::ipv4, Addresses::ipv6})
      for (const Family f : {Family::access_lists, Family::ip_chains, Family::firewalls}) cases.push_back(prepare(argv[1], f, a, count));
    for (int round = 0; round < rounds; ++round)
      for (Case& c : cases) {
        c.best[0] = std::min(c.best[0], run(c.empty));
        c.best[1] = std::min(c.best[1], run(c.frame));
        c.best[2] = std::min(c.best[2], run(c.judge));
      }
    for (Case& c : cases) {
      fmt::print("{:>7} {:68} empty {:5.1f} frame {:5.1f} judge {:6.1f} ns   x {:5.1f}   without frame {:5.1f}\n", c.rules, c.name,
                 c.best[0], c.best[1], c.best[2], c.best[2] / c.best[0], (c.best[2] - c.best[1]) / c.best[0] + 1);
      bpf_object__close(c.object);
    }
  }
}
