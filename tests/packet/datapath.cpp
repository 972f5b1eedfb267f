#include "tests/packet/datapath.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "app/compile.h"
#include "core/kernel/bpf.h"
#include "features/policy/tables.h"

namespace penstock::packet_test {

namespace {

size_t rule_entries(Level level) {
  switch (level) {
    case Level::may_goto: return PS_RULES_MAX_may_goto;
    case Level::atomics: return PS_RULES_MAX_atomics;
    case Level::basic: return PS_RULES_MAX_basic;
  }
  return 0;
}

}  // namespace

Result<Datapath> Datapath::load(const Config& config, const std::string& interface, const Options& options) {
  Known known;
  known.rule_entries = rule_entries(options.level);
  known.addresses[interface] = options.addresses;
  TRY_ASSIGN(Image image, compile(config, known));
  // So many that none makes room for another: which one that is, no model can tell.
  if (uint32_t& fragments = image.sizes["policy_fragments"]; fragments) fragments = 1 << 20;
  std::erase_if(image.hooks, [&](const HookImage& hook) { return hook.interface != interface; });
  if (image.hooks.size() != 1) return fail("no interface " + interface);

  LoadOptions load;
  load.level = options.level;
  load.core.trace = options.trace;
  load.core.replay = options.replay;
  load.core.no_ethernet = !options.ethernet;
  load.core.quotes = options.quotes;
  load.core.linear = options.linear;
  load.core.no_write = options.no_write;
  Datapath out;
  TRY_ASSIGN(out.loaded_, load_image(image, load));
  TRY_ASSIGN(out.trace_, map_memory(out.loaded_.map("trace")));
  TRY_ASSIGN(out.replay_, map_memory(out.loaded_.map("replay")));
  TRY_ASSIGN(out.counters_, map_memory(out.loaded_.map("counters")));
  out.slots_ = std::move(image.slots);
  out.stride_ = image.slot_end;
  out.expected_.resize(out.stride_);
  out.no_write_ = options.no_write;
  out.ethernet_ = options.ethernet;
  out.out_.resize(16384);
  return out;
}

namespace {
// Where the datagram of a well-formed frame ends, by the length that its IP header tells.
size_t datagram_end(std::span<const uint8_t> frame, bool ethernet) {
  const auto number = [&](size_t at) { return at + 2 <= frame.size() ? size_t{frame[at]} << 8 | frame[at + 1] : 0; };
  size_t ip = 0;
  if (ethernet) {
    ip = 14;
    for (int tags = 0; tags < 2 && (number(ip - 2) == 0x8100 || number(ip - 2) == 0x88a8); ++tags) ip += 4;
  }
  if (ip >= frame.size()) return frame.size();
  return frame[ip] >> 4 == 4 ? ip + number(ip + 2) : ip + 40 + number(ip + 4);
}
constexpr size_t surely_one_piece = 3000;  // what is longer is cut there, and not where this kernel likes to
}  // namespace

// Padding in fragments is not counted: of a frame whose datagram ends in its first piece, that piece is.
size_t counted_bytes(std::span<const uint8_t> frame, size_t linear, bool ethernet) {
  if (!linear && frame.size() > surely_one_piece) linear = surely_one_piece;
  return linear && datagram_end(frame, ethernet) <= linear ? linear : frame.size();
}

Result<model::Outcome> Datapath::run(std::span<const uint8_t> frame, size_t linear) {
  if (!linear && frame.size() > surely_one_piece) linear = surely_one_piece;
  // The bare system call: two million runs have no time for more.
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(linear ? linear : frame.size());
  bpf_attr attr{};
  attr.test.prog_fd = static_cast<uint32_t>(loaded_.program(0));
  attr.test.data_in = reinterpret_cast<uint64_t>(frame.data());
  attr.test.data_size_in = static_cast<uint32_t>(frame.size());
  attr.test.data_out = reinterpret_cast<uint64_t>(out_.data());
  attr.test.data_size_out = static_cast<uint32_t>(out_.size());
  attr.test.repeat = 1;
  if (linear) {
    attr.test.ctx_in = reinterpret_cast<uint64_t>(&context);
    attr.test.ctx_size_in = sizeof context;
  }
  if (syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr) < 0) return fail_errno("BPF_PROG_RUN", errno);
  const size_t bytes = counted_bytes(frame, linear, ethernet_);

  model::Outcome outcome;
  const auto* trace = trace_.as<const ps_trace>();
  for (uint32_t i = 0; i < trace->slots; ++i) {
    const auto slot = std::ranges::find(slots_, trace->slot[i], &Slot::number);
    if (slot == slots_.end()) return fail(fmt::format("slot {} means nothing", trace->slot[i]));
    const bool service = !slot->service.empty();
    outcome.exits.push_back({verdict_name(slot->verdict), reason_name(slot->reason), service ? slot->service : slot->policy, service ? slot->backend : slot->rule});
    if (no_write_) continue;
    expected_[slot->number].packets++;
    const bool parsed = slot->reason != PS_REASON_MALFORMED && slot->reason != PS_REASON_NOT_IP;
    expected_[slot->number].bytes += parsed ? bytes : frame.size();
  }
  if (outcome.exits.empty()) return fail("the program left without an exit");
  const std::string& reason = outcome.exits.back().reason;
  const bool rewritten = attr.test.retval == PS_TX || attr.test.retval == PS_REDIRECT || reason == "decapsulated" || reason == "decap-nested";
  if (attr.test.data_size_out > out_.size()) return fail("an answer longer than any packet");
  if (!rewritten && (attr.test.data_size_out != frame.size() || std::memcmp(out_.data(), frame.data(), frame.size()) != 0))
    return fail("the program changed the packet");

  const auto* counters = counters_.as<const ps_counter>();
  for (size_t slot = 0; slot < stride_; ++slot) {
    ps_counter sum{};
    for (unsigned lane = 0; lane < counter_lanes(); ++lane) {
      sum.packets += counters[lane * stride_ + slot].packets;
      sum.bytes += counters[lane * stride_ + slot].bytes;
    }
    if (sum.packets != expected_[slot].packets || sum.bytes != expected_[slot].bytes)
      return fail(fmt::format("slot {} counted {} packets, {} bytes; its exits were {}, {}", slot, sum.packets, sum.bytes,
                              expected_[slot].packets, expected_[slot].bytes));
  }

  outcome.verdict = verdict_name(attr.test.retval);
  if (rewritten) outcome.answer.assign(out_.begin(), out_.begin() + attr.test.data_size_out);
  const std::string& last = outcome.exits.back().verdict;
  if (outcome.verdict != (last == "audit" ? "pass" : last))
    return fail(fmt::format("the program returned {}, its last exit says {}", outcome.verdict, last));
  return outcome;
}

Result<ps_packet> Datapath::parsed() const {
  const size_t size = (sizeof(ps_packet) + 7) / 8 * 8;
  std::vector<uint8_t> lanes(size * counter_lanes());
  const uint32_t zero = 0;
  if (bpf_map_lookup_elem(loaded_.map("scratch"), &zero, lanes.data()) < 0) return fail_errno("cannot read scratch", errno);
  const int cpu = sched_getcpu();
  if (cpu < 0) return fail_errno("sched_getcpu", errno);
  ps_packet packet;
  std::memcpy(&packet, lanes.data() + size * static_cast<size_t>(cpu), sizeof packet);
  return packet;
}

Result<uint32_t> Datapath::verified_instructions() const {
  TRY_ASSIGN(const bpf_prog_info info, program_info(program()));
  return info.verified_insns;
}

void stay_on_this_cpu() {
  const int cpu = sched_getcpu();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu < 0 ? 0 : cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

std::vector<Level> loadable_levels() {
  std::vector<Level> out;
  const auto best = kernel_level();
  for (const Level level : {Level::may_goto, Level::atomics, Level::basic})
    if (best && level >= *best) out.push_back(level);
  return out;
}

}  // namespace penstock::packet_test
