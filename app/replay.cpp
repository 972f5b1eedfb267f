#include "app/replay.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "app/explain.h"
#include "bpf/hook.h"
#include "core/config/duration.h"
#include "core/kernel/tcp.h"
#include "core/net/packet_text.h"
#include "features/services/tables.h"

namespace penstock {
namespace {

constexpr size_t least_frame = 14;       // the kernel runs nothing shorter
constexpr size_t most_growth = 256;      // what a program can put in front of a packet

}  // namespace

std::optional<size_t> hook_of(const Image& image, const std::string& interface) {
  for (size_t i = 0; i < image.hooks.size(); ++i)
    if (image.hooks[i].interface == interface) return i;
  return {};
}

LoadOptions Replay::load_options(const ReplayOptions& options) {
  LoadOptions out;
  out.core = options.core;
  out.core.trace = options.events ? PS_TRACE_EVENTS : PS_TRACE_EXITS;
  out.core.replay = options.world == World::replay;
  out.core.no_write = options.world == World::live;
  out.shared = options.shared;
  out.behind = kernel_takes_cookies();  // else it cannot be loaded here, and would not be attached
  return out;
}

Result<Replay> Replay::open(const Image& image, const ReplayOptions& options) {
  TRY_ASSIGN(Loaded programs, load_image(image, load_options(options)));
  return over(image, options, std::move(programs));
}

Result<Replay> Replay::over(const Image& image, const ReplayOptions& options, Loaded programs) {
  Replay r;
  r.image_ = &image;
  r.options_ = options;
  r.options_.shared.clear();  // their descriptors may be closed later
  r.ethernet_ = std::move(programs);
  if (r.ethernet_.hooks() == 0) return r;
  TRY_ASSIGN(r.trace_, map_memory(r.ethernet_.map("trace")));
  TRY_ASSIGN(r.clock_, map_memory(r.ethernet_.map("replay")));
  for (const Slot& slot : image.slots) {
    if (slot.number >= r.slots_.size()) r.slots_.resize(slot.number + 1);
    r.slots_[slot.number] = &slot;
  }
  return r;
}

Result<const Loaded*> Replay::loaded(bool raw) {
  if (!raw) return &ethernet_;
  if (!raw_) {
    LoadOptions options = load_options(options_);
    options.core.no_ethernet = 1;
    options.shared = ethernet_.maps();
    TRY_ASSIGN(raw_, load_image(*image_, options));
  }
  return &*raw_;
}

// Programs only count in these: nothing is judged by them.
constexpr const char* outputs[] = {"counters", "set_hits", "service_flow_counts"};

Result<> Replay::find_state() {
  state_.emplace();
  for (const auto& [name, map] : ethernet_.maps()) {
    const bool output = std::ranges::find(outputs, name) != std::end(outputs);
    if (is_scratch(name) || output || std::ranges::find(image_->tables, name, &TableImage::map) != image_->tables.end()) continue;
    TRY_ASSIGN(const bpf_map_info info, map_info(map));
    State state{.map = map, .key_size = 0, .memory = {}, .zeros = {}};
    if (info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS) continue;  // filled by user space only
    if (info.type == BPF_MAP_TYPE_PERCPU_ARRAY && info.max_entries == 1) {
      state.zeros.resize((info.value_size + 7u) / 8 * 8 * counter_lanes());
    } else if (info.map_flags & BPF_F_MMAPABLE) {
      TRY_ASSIGN(state.memory, map_memory(map));
    } else if (info.type == BPF_MAP_TYPE_HASH || info.type == BPF_MAP_TYPE_LRU_HASH || info.type == BPF_MAP_TYPE_PERCPU_HASH || info.type == BPF_MAP_TYPE_LRU_PERCPU_HASH) {
      state.key_size = info.key_size;
    } else {
      return fail(fmt::format("the map {} cannot be emptied between tests", name));
    }
    state_->push_back(std::move(state));
  }
  return {};
}

Result<> Replay::set_neighbor(const Address& address, const Mac& mac) {
  const int map = ethernet_.map("replay_neighbors");
  if (map < 0) return {};  // no stage asks for next hops
  const ps_address key{address.hi, address.lo};
  ps_neighbor neighbor{};
  std::ranges::copy(mac.bytes, neighbor.mac);
  return map_update(map, &key, &neighbor);
}

Result<> Replay::forget() {
  if (!state_) TRY(find_state());
  for (const State& state : *state_) {
    if (!state.zeros.empty()) {
      const uint32_t zero = 0;
      TRY(map_update(state.map, &zero, state.zeros.data()));
      continue;
    }
    if (state.memory) {
      std::memset(state.memory.as<char>(), 0, state.memory.size());
      continue;
    }
    std::vector<char> key(state.key_size);
    while (bpf_map_get_next_key(state.map, nullptr, key.data()) == 0)
      if (bpf_map_delete_elem(state.map, key.data()) < 0 && errno != ENOENT) return fail_errno("cannot empty a map", errno);
  }
  return {};
}

Judged Replay::malformed(size_t hook, std::span<const uint8_t> packet) const {
  ps_hook_const constants{};
  if (const auto bytes = image_->hooks[hook].constants.find("hook_const"); bytes != image_->hooks[hook].constants.end())
    std::memcpy(&constants, bytes->second.data(), std::min(sizeof constants, bytes->second.size()));
  Judged judged;
  judged.verdict = static_cast<ps_verdict>(constants.malformed);
  judged.decided = constants.slot_malformed < slots_.size() ? slots_[constants.slot_malformed] : nullptr;
  judged.bytes.assign(packet.begin(), packet.end());
  return judged;
}

// Behind XDP the host has taken the tag off, and the kernel's test run wants an Ethernet header in any case.
Result<> Replay::run_behind(int program, std::span<const uint8_t> packet, bool raw) {
  constexpr size_t addresses = 12;
  std::vector<uint8_t> frame(packet.begin(), packet.end());
  const auto type = [&](size_t at) { return at + 2 <= frame.size() ? frame[at] << 8 | frame[at + 1] : 0; };
  if (raw) {
    if (frame.empty()) return {};
    const bool v6 = frame[0] >> 4 == 6;
    const uint8_t header[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(v6 ? 0x86 : 0x08), static_cast<uint8_t>(v6 ? 0xdd : 0x00)};
    frame.insert(frame.begin(), std::begin(header), std::end(header));
  } else if (frame.size() > least_frame + 4 && (type(addresses) == 0x8100 || type(addresses) == 0x88a8)) {
    frame.erase(frame.begin() + addresses, frame.begin() + addresses + 4);
  }
  if (frame.size() < least_frame + 20) return {};
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = static_cast<uint32_t>(frame.size()), .repeat = 1);
  int error;
  do {
    error = bpf_prog_test_run_opts(program, &options);
  } while (error == -EINTR || error == -EAGAIN);
  if (error) return fail_errno(fmt::format("cannot run the program behind XDP on a packet of {} bytes", packet.size()), -error);
  return {};
}

Result<Judged> Replay::run(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now, RunFrom from) {
  TRY_ASSIGN(const Loaded* programs, loaded(raw));
  if (hook >= programs->hooks()) return fail("no such hook");
  auto* const trace = trace_.as<ps_trace>();
  trace->slots = trace->events = 0;
  if (packet.size() < least_frame && !raw) return malformed(hook, packet);
  // A raw packet too short for the test run is filled with zeros behind its end: its IP header, of 20 bytes at least, is
  // cut off all the same, so the programs find it malformed (or of no IP version) as they would without.
  std::vector<uint8_t> padded;
  std::span<const uint8_t> in = packet;
  if (in.size() < least_frame) {
    padded.assign(packet.begin(), packet.end());
    padded.resize(least_frame);
    in = padded;
  }
  auto* const world = clock_.as<ps_replay>();
  world->now = now;
  world->from_policy = from.policy;
  world->from_entry = from.entry;
  out_.resize(in.size() + most_growth);

  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = in.data();
  options.data_size_in = static_cast<uint32_t>(in.size());
  options.data_out = out_.data();
  options.data_size_out = static_cast<uint32_t>(out_.size());
  options.repeat = 1;
  int error;
  do {
    error = bpf_prog_test_run_opts(programs->program(hook), &options);
  } while (error == -EINTR || error == -EAGAIN);
  if (error) return fail_errno(fmt::format("cannot run the program on a packet of {} bytes", packet.size()), -error);

  Judged judged;
  judged.verdict = static_cast<ps_verdict>(options.retval);
  const uint32_t length = std::min<uint32_t>(options.data_size_out, static_cast<uint32_t>(out_.size()));
  judged.bytes.assign(out_.begin(), out_.begin() + length);
  if (in.size() != packet.size() && length == in.size()) judged.bytes.resize(packet.size());
  if (const int behind = programs->tc(hook); behind >= 0 && judged.verdict == PS_PASS) TRY(run_behind(behind, judged.bytes, raw));
  const auto slot_of = [&](uint32_t number) { return number < slots_.size() ? slots_[number] : nullptr; };
  for (uint32_t i = 0; i < std::min<uint32_t>(trace->slots, PS_TRACE_SLOTS_MAX) && !judged.audited; ++i)
    if (const Slot* slot = slot_of(trace->slot[i]); slot && slot->verdict == PS_AUDIT) judged.audited = slot;
  if (trace->slots > 0) judged.decided = slot_of(trace->decided);
  return judged;
}

namespace {

std::string expected_text(const Test& test) {
  std::string out = test.expect;
  if (test.reason) out += fmt::format(", reason {}", *test.reason);
  if (test.rule) out += fmt::format(", by rule {}", *test.rule);
  return out;
}

bool as_expected(const Test& test, const Judged& judged) {
  if (test.expect != verdict_name(judged.verdict)) return false;
  const Slot* slot = judged.decided;
  if (test.reason && (!slot || *test.reason != reason_name(slot->reason))) return false;
  if (test.rule && (!slot || slot->rule.empty() || (*test.rule != slot->rule && *test.rule != slot->policy + "/" + slot->rule))) return false;
  return true;
}

}  // namespace

namespace {

constexpr uint64_t test_start = 3'600'000'000'000;  // ns: far from 0, which a program may take for "never"

// Sends the test's packet as often as it says, but for the last time.  Returns the time of the last one.
Result<uint64_t> lead_up(Replay& replay, const Test& test, size_t hook, std::span<const uint8_t> packet) {
  TRY(replay.forget());
  const auto step = static_cast<uint64_t>(std::chrono::nanoseconds(test.every).count());
  uint64_t now = test_start;
  for (uint32_t i = 1; i < test.times; ++i, now += step) TRY(replay.run(hook, packet, false, now));
  return now;
}

Diagnostic unreadable(const Test& test, Diagnostic d) {
  d.detail.push_back(test.packet);
  d.detail.push_back(std::string(d.at.column - 1, ' ') + std::string(d.at.width, '^'));
  d.at = test.packet_at;
  d.source_line.clear();
  return d;
}

std::string sent_text(const Test& test) {
  std::string out = fmt::format("{} on {}", test.packet, test.on);
  if (test.times > 1) out += fmt::format(", {} times", test.times);
  if (test.times > 1 && test.every.count() > 0) out += fmt::format(", one every {}", duration_text(test.every));
  return out;
}

}  // namespace

Result<TestReport> run_tests(const Config& config, const Image& image) {
  TestReport report;
  if (config.tests.empty()) return report;
  TRY_ASSIGN(Replay replay, Replay::open(image, World::replay));
  std::optional<Replay> telling;  // the same programs, for what failed
  for (const Test& test : config.tests) {
    const auto packet = packet_from_text(test.packet);
    if (!packet) {
      report.failures.push_back(unreadable(test, packet.error().diagnostics.front()));
      continue;
    }
    const auto hook = hook_of(image, test.on);
    if (!hook) {
      report.failures.push_back({.message = fmt::format("no program stands on interface {}", test.on), .at = test.at});
      continue;
    }
    TRY_ASSIGN(uint64_t now, lead_up(replay, test, *hook, *packet));
    TRY_ASSIGN(const Judged judged, replay.run(*hook, *packet, false, now));
    if (as_expected(test, judged)) {
      ++report.passed;
      continue;
    }
    Diagnostic d{fmt::format("test failed: expected {}, found {}", test.expect, verdict_text(judged))};
    d.at = test.at;
    d.detail = {fmt::format("packet:   {}", sent_text(test)), fmt::format("expected: {}", expected_text(test)), fmt::format("found:    {}", verdict_text(judged))};
    if (!telling) {
      TRY_ASSIGN(telling, Replay::open(image, {.world = World::replay, .events = true}));
    }
    TRY_ASSIGN(now, lead_up(*telling, test, *hook, *packet));
    TRY_ASSIGN(const Explanation explanation, Explainer(config, image, *telling).explain(*hook, *packet, false, now));
    for (std::string& line : explanation_lines(explanation, config)) d.detail.push_back("  " + std::move(line));
    if (judged.audited) d.hint = fmt::format("policy {} is in audit mode: what it would drop passes", judged.audited->policy);
    report.failures.push_back(std::move(d));
  }
  return report;
}

Result<size_t> require_tests(const Config& config, const Image& image) {
  TRY_ASSIGN(TestReport report, run_tests(config, image));
  if (report.failures.empty()) return report.passed;
  Error error;
  error.diagnostics = std::move(report.failures);
  return Failure(std::move(error));
}

}  // namespace penstock
