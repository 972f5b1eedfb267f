#include "core/plan/switch.h"

#include <fmt/format.h>

#include <random>
#include <utility>

#include "bpf/gate.h"
#include "core/kernel/bpf.h"
#include "core/kernel/objects.h"
#include "core/plan/running.h"

namespace penstock {
namespace {

// The gates of all devices that either generation attaches to, all reading one word that says "the old one".
struct Gates {
  std::vector<Object> objects;
  std::vector<Wanted> wanted;
  Fd word, programs;
};

Result<Gates> load_gates(const Programs& from, const Programs& to, uint64_t from_number, uint64_t to_number) {
  Gates gates;
  TRY_ASSIGN(const Level level, kernel_level());
  TRY_ASSIGN(gates.programs, create_map({BPF_MAP_TYPE_PROG_ARRAY, "programs", 4, 4, 2 * PS_GATE_HOOKS, 0}));
  TRY_ASSIGN(gates.word, create_map({BPF_MAP_TYPE_ARRAY, "txn", 4, sizeof(ps_txn), 1, BPF_F_MMAPABLE}));
  std::vector<Wanted> devices = to.wanted;
  for (const Wanted& w : from.wanted)
    if (!to.of(w.device.ifindex)) devices.push_back(w);
  const bool journeys_possible = devices.size() > 1;
  const ps_txn word{0, from_number, to_number, PS_GATE_FOREVER, journeys_possible ? PS_GATE_WINDOW : 0};
  const uint32_t zero = 0;
  TRY(map_update(gates.word.get(), &zero, &word));
  TRY_ASSIGN(const Fd journeys, create_map({BPF_MAP_TYPE_ARRAY, "journeys", 4, sizeof(ps_journey_line), journeys_possible ? PS_JOURNEY_LINES : 1u, BPF_F_MMAPABLE}));
  const uint64_t seed = std::random_device()() | uint64_t{std::random_device()()} << 32;
  if (devices.size() > PS_GATE_HOOKS) return fail(fmt::format("{} devices are more than the {} that one change can cover", devices.size(), PS_GATE_HOOKS));
  for (uint32_t i = 0; i < devices.size(); ++i) {
    for (const auto& [programs, offset] : {std::pair{&from, 0u}, std::pair{&to, 1u}}) {
      const Wanted* w = programs->of(devices[i].device.ifindex);
      const uint32_t index = 2 * i + offset;
      if (w) TRY(map_update(gates.programs.get(), &index, &w->program));
    }
    TRY_ASSIGN(Object gate, Object::open("gate", level));
    TRY(gate.constant("gate_const", bytes_of(ps_gate_const{i, !devices[i].device.ethernet, word.window, seed})));
    TRY(gate.reuse("txn", gates.word.get()));
    TRY(gate.reuse("programs", gates.programs.get()));
    TRY(gate.reuse("journeys", journeys.get()));
    TRY(gate.load());
    // What stands behind needs no gate: it does the same in all generations.  It is there before the one that needs it.
    const Wanted *before = from.of(devices[i].device.ifindex), *after = to.of(devices[i].device.ifindex);
    const int behind = after && after->tc >= 0 ? after->tc : before ? before->tc : -1;
    gates.wanted.push_back({devices[i].device, gate.program("penstock_gate"), devices[i].mode, behind});
    gates.objects.push_back(std::move(gate));
  }
  return gates;
}

// The link of the only device, where both generations run on one and the same, attached as it is and with nothing behind
// it: to exchange its program is a switch by itself.
Result<Fd> only_link(const Instance& instance, const Programs& before, const Programs& after) {
  if (before.wanted.size() != 1 || after.wanted.size() != 1) return Fd();
  const Wanted& wanted = after.wanted.front();
  if (before.wanted.front().device.ifindex != wanted.device.ifindex) return Fd();
  if (before.wanted.front().tc >= 0 || wanted.tc >= 0) return Fd();
  TRY_ASSIGN(const Running running, observe(instance));
  if (running.links.size() != 1) return Fd();
  const RunningLink& link = running.links.front();
  if (link.info.ifindex != wanted.device.ifindex || !mode_satisfies(wanted.mode, link.mode)) return Fd();
  return open_pin(link_pin(instance, link.ifindex));
}

// Without a deadline and with one device no gate is needed.  The word only says what is under way: until the link runs the
// new program the old generation judges, and from then on observe() takes the change for confirmed.
Result<std::vector<Diagnostic>> switch_link(const Instance& instance, const Fd& link, int program, uint64_t from, uint64_t to) {
  TRY_ASSIGN(const Fd word, create_map({BPF_MAP_TYPE_ARRAY, "txn", 4, sizeof(ps_txn), 1, BPF_F_MMAPABLE}));
  const ps_txn undecided{0, from, to, PS_GATE_FOREVER, 0};
  const uint32_t zero = 0;
  TRY(map_update(word.get(), &zero, &undecided));
  TRY(make_directories(instance.pins("txn")));
  TRY(pin(word.get(), instance.pins("txn/word")));
  step("word-pinned");
  TRY(update_link(link.get(), program));
  step("switched");
  return std::vector<Diagnostic>{};
}

}  // namespace

Result<std::vector<Diagnostic>> switch_over(const Instance& instance, uint64_t from, uint64_t to, std::optional<std::chrono::nanoseconds> confirm) {
  TRY_ASSIGN(const Programs before, programs_of(instance, from));
  TRY_ASSIGN(const Programs after, programs_of(instance, to));
  if (!confirm) {
    TRY_ASSIGN(const Fd link, only_link(instance, before, after));
    if (link) return switch_link(instance, link, after.wanted.front().program, from, to);
  }
  TRY_ASSIGN(const Gates gates, load_gates(before, after, from, to));
  step("gates-loaded");
  TRY(make_directories(instance.pins("txn")));
  TRY(pin(gates.programs.get(), instance.pins("txn/programs")));
  step("programs-pinned");
  TRY(pin(gates.word.get(), instance.pins("txn/word")));
  step("word-pinned");
  TRY_ASSIGN(auto warnings, attach_wanted(instance, gates.wanted));
  step("gated");
  TRY_ASSIGN(const Mapping memory, map_memory(gates.word.get()));
  auto* word = memory.as<ps_txn>();
  // Where journeys are followed the instant lies ahead, for the gates to write down what is on its way.
  const uint64_t start = coarse_now() + (word->window ? word->window + coarse_tick() : 0);
  const uint64_t deadline = confirm ? (start + static_cast<uint64_t>(confirm->count())) & ~PS_GATE_CLOSED : PS_GATE_FOREVER;
  step("armed");
  __atomic_store_n(&word->start, start, __ATOMIC_RELEASE);  // without a deadline it means nothing
  __atomic_store_n(&word->deadline, deadline, __ATOMIC_RELEASE);  // the only switch
  sleep_until(start);
  step("switched");
  return warnings;
}

}  // namespace penstock
