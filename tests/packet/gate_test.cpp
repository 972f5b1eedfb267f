// The gate around its two instants: journeys from one hook to another, and the deadline that is closed once it passed.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <cstring>


#include "bpf/gate.h"
#include "core/kernel/objects.h"
#include "core/net/packet_text.h"
#include "tests/packet/datapath.h"

namespace penstock::packet_test {
namespace {

constexpr uint64_t window = 60'000'000'000;  // so long that no busy machine leaves it
using Frame = std::vector<uint8_t>;

// Hooks of one transaction.  Their candidate drops, before it nothing was attached.
class Hooks {
 public:
  static Result<Hooks> load(Level level, const std::vector<bool>& raw) {
    Hooks out;
    for (uint32_t hook = 0; hook < raw.size(); ++hook) {
      TRY_ASSIGN(Object gate, Object::open("gate", level));
      TRY(gate.constant("gate_const", bytes_of(ps_gate_const{hook, raw[hook], window, 7})));
      if (hook == 0) TRY(gate.resize("journeys", PS_JOURNEY_LINES));
      else
        for (const char* map : {"txn", "programs", "journeys"}) TRY(gate.reuse(map, out.gates_.front().map(map)));
      TRY(gate.load());
      if (hook == 0) {
        const bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_DROP},
                                 {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
        LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_XDP, .prog_flags = gate.frags() ? BPF_F_XDP_HAS_FRAGS : 0u);
        out.drop_ = Fd(bpf_prog_load(BPF_PROG_TYPE_XDP, "drop", "GPL", code, 2, &opts));
      }
      const uint32_t index = 2 * hook + 1;
      const int drop = out.drop_.get();
      TRY(map_update(gate.map("programs"), &index, &drop));
      out.gates_.push_back(std::move(gate));
    }
    TRY_ASSIGN(out.memory_, map_memory(out.gates_.front().map("txn")));
    return out;
  }
  ps_txn& word() { return *memory_.as<ps_txn>(); }
  // Judged by the candidate?
  bool candidate(size_t hook, const Frame& frame) {
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = static_cast<__u32>(frame.size()), .repeat = 1);
    EXPECT_EQ(bpf_prog_test_run_opts(gates_[hook].program("penstock_gate"), &run), 0);
    EXPECT_TRUE(run.retval == XDP_DROP || run.retval == XDP_PASS) << run.retval;
    return run.retval == XDP_DROP;
  }
  // The instants as if they were so far from now, ns.
  void at(int64_t start, int64_t end) {
    const uint64_t now = coarse_now();
    word().start = now + static_cast<uint64_t>(start);
    word().deadline = (now + static_cast<uint64_t>(end)) & ~PS_GATE_CLOSED;
  }

 private:
  std::vector<Object> gates_;
  Fd drop_;
  Mapping memory_;
};

constexpr int64_t soon = window / 2, far = 100 * static_cast<int64_t>(window);

Frame packet(const std::string& text) {
  auto bytes = packet_from_text(text);
  EXPECT_TRUE(bytes) << text;
  return bytes ? *bytes : Frame(64);
}

// What a router, a bridge or a switch makes of a frame; `ip` is where its IP header begins.
Frame forwarded(Frame frame, size_t ip) {
  for (size_t i = 0; i < 12; ++i) frame[i] ^= 0x55;
  const bool v4 = frame[ip] >> 4 == 4;
  frame[ip + (v4 ? 8 : 7)] -= 1;
  frame[ip + 1] ^= 0x30;  // traffic class; of IPv6 its lower half
  if (v4) frame[ip + 10] ^= 0xff, frame[ip + 11] ^= 0xff;
  return frame;
}

const char* const pairs[][2] = {  // two packets that differ in one thing, which tells them apart
    {"udp 192.0.2.1:1 > 192.0.2.2:2 length 40 id 1", "udp 192.0.2.1:1 > 192.0.2.2:2 length 40 id 2"},
    {"udp 192.0.2.1:1 > 192.0.2.2:2 payload 00000001", "udp 192.0.2.1:1 > 192.0.2.2:3 payload 00000001"},
    {"udp 192.0.2.1:1 > 192.0.2.2:2 payload 00000001", "udp 192.0.2.1:1 > 192.0.2.2:2 payload 00000002"},
    {"udp [2001:db8::1]:1 > [2001:db8::2]:2 payload 0000000000000001", "udp [2001:db8::1]:1 > [2001:db8::2]:2 payload 0000000000000002"},
    {"udp [2001:db8::1]:1 > [2001:db8::2]:2 length 0", "udp [2001:db8::1]:1 > [2001:db8::3]:2 length 0"},
    {"tcp 192.0.2.1:1 > 192.0.2.2:2 syn id 1", "tcp 192.0.2.1:1 > 192.0.2.2:2 ack id 1"},
    {"icmp 192.0.2.1 > 192.0.2.2 echo-request length 40", "icmp 192.0.2.1 > 192.0.2.2 echo-reply length 40"},
    {"icmpv6 2001:db8::1 > 2001:db8::2 echo-request", "icmpv6 2001:db8::1 > 2001:db8::2 echo-reply"},
    {"ip gre 192.0.2.1 > 192.0.2.2 length 4", "ip gre 192.0.2.1 > 192.0.2.2 length 3"},
};

TEST(Gate, FollowsJourneysOverBothInstants) {
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    auto hooks = Hooks::load(level, {false, false, true});
    ASSERT_TRUE(hooks) << hooks.error().message();
    for (const auto& [first, other] : pairs) {
      SCOPED_TRACE(first);
      const Frame sent = packet(first), later = packet(other);
      Frame tagged = forwarded(sent, 14), bare(sent.begin() + 14, sent.end());
      const Frame tag{0x81, 0, 0, 5};
      tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
      Frame padded = sent;
      padded.resize(120, 0xee);  // padding that the next hook does not see
      for (const bool at_start : {true, false}) {
        // Before the instant all hooks do as the clock says.
        at_start ? hooks->at(soon, far) : hooks->at(-far, soon);
        EXPECT_EQ(hooks->candidate(0, padded), !at_start);
        // After it, the others do as the first did, for that packet only; the first meets another one that looks the same.
        at_start ? hooks->at(-soon, far) : hooks->at(-far, -soon);
        EXPECT_EQ(hooks->candidate(1, forwarded(sent, 14)), !at_start);
        EXPECT_EQ(hooks->candidate(1, tagged), !at_start);
        EXPECT_EQ(hooks->candidate(2, bare), !at_start) << "without an Ethernet header";
        EXPECT_EQ(hooks->candidate(1, later), at_start) << other;
        EXPECT_EQ(hooks->candidate(0, sent), at_start);
        EXPECT_EQ(hooks->candidate(1, sent), at_start) << "as the first judged the one that looks the same";
        // Outside of the window nothing is looked up.
        at_start ? hooks->at(soon, far) : hooks->at(-far, soon);
        EXPECT_EQ(hooks->candidate(0, sent), !at_start);
        at_start ? hooks->at(-far / 2, far) : hooks->at(-far, -far / 2);
        EXPECT_EQ(hooks->candidate(1, sent), at_start);
      }
    }
  }
}

// As many as pass in a window on a busy node: none is forgotten while it is on its way.
TEST(Gate, RemembersThousandsOfJourneys) {
  auto hooks = Hooks::load(loadable_levels().front(), {false, false});
  ASSERT_TRUE(hooks) << hooks.error().message();
  Frame frame = packet("udp 192.0.2.1:1 > 192.0.2.2:2 payload 00000000");
  constexpr uint32_t journeys = 30'000;
  const auto number = [&](uint32_t n) { std::memcpy(&frame[42], &n, sizeof n); };
  hooks->at(soon, far);
  for (uint32_t n = 0; n < journeys; ++n) number(n), hooks->candidate(0, frame);
  hooks->at(-soon, far);
  uint32_t forgotten = 0, taken = 0;
  for (uint32_t n = 0; n < journeys; ++n) number(n), forgotten += hooks->candidate(1, frame);
  for (uint32_t n = 0; n < journeys; ++n) number(n + journeys), taken += !hooks->candidate(1, frame);
  EXPECT_LE(forgotten, 3u);
  EXPECT_EQ(taken, 0u) << "taken for another";
}

// Also in the tick in which the clock says exactly the deadline.
TEST(Gate, ClosesADeadlineThatHasPassed) {
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    auto hooks = Hooks::load(level, {false, false});
    ASSERT_TRUE(hooks) << hooks.error().message();
    const Frame frame = packet("arp request 192.0.2.1 > 192.0.2.2");
    ps_txn& word = hooks->word();
    word.start = 0;
    for (int left = 100; left > 0; --left) {
      uint64_t now = coarse_now();
      for (; now % 2; now = coarse_now()) {}
      word.deadline = now;
      EXPECT_FALSE(hooks->candidate(0, frame));
      EXPECT_FALSE(hooks->candidate(1, frame)) << "in the same tick, after it was closed";
      if (level != Level::basic) {
        EXPECT_EQ(word.deadline, now | PS_GATE_CLOSED);
      }
    }
    // What was confirmed or has not begun is not closed.
    word.deadline = PS_GATE_FOREVER;
    EXPECT_TRUE(hooks->candidate(0, frame));
    EXPECT_EQ(word.deadline, PS_GATE_FOREVER);
    word.deadline = 0;
    EXPECT_FALSE(hooks->candidate(0, frame));
    EXPECT_EQ(word.deadline, 0u);
    const uint64_t ahead = (coarse_now() + far) & ~PS_GATE_CLOSED;
    word.deadline = ahead;
    EXPECT_TRUE(hooks->candidate(0, frame));
    EXPECT_EQ(word.deadline, ahead);
  }
}

}  // namespace
}  // namespace penstock::packet_test
