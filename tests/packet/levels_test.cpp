// What the loader chooses for older kernels: the clock of the level basic, frames of one piece, programs that write nothing.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "bpf/gate.h"
#include "core/kernel/bpf.h"
#include "tests/packet/datapath.h"
#include "tests/packet/generate.h"

namespace penstock::packet_test {
namespace {

// The smallest program that drops, loaded for the frames that the gate is loaded for: a program array wants them alike.
Fd dropper(bool frags) {
  const bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_DROP},
                           {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_XDP, .prog_flags = frags ? BPF_F_XDP_HAS_FRAGS : 0u);
  return Fd(bpf_prog_load(BPF_PROG_TYPE_XDP, "drop", "GPL", code, 2, &opts));
}

TEST(Levels, GatesKeepTheirDeadlineByTheLevelsClock) {
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    auto gate = Object::open("gate", level);
    ASSERT_TRUE(gate) << gate.error().message();
    ASSERT_TRUE(gate->constant("gate_const", bytes_of(ps_gate_const{1, 0, 0, 0})));
    const auto loaded = gate->load();
    ASSERT_TRUE(loaded) << loaded.error().message();
    const Fd candidate = dropper(gate->frags());
    const uint32_t zero = 0, index = 3;
    const int program = candidate.get();
    ASSERT_TRUE(map_update(gate->map("programs"), &index, &program));
    const auto verdict = [&] {
      const Frame frame(64);
      LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = 64, .repeat = 1);
      EXPECT_EQ(bpf_prog_test_run_opts(gate->program("penstock_gate"), &run), 0);
      return run.retval;
    };
    const uint64_t tick = coarse_tick();
    const auto set_deadline = [&](uint64_t deadline) {
      const ps_txn word{.deadline = deadline, .from = 0, .to = 0, .start = 0, .window = 0};
      ASSERT_TRUE(map_update(gate->map("txn"), &zero, &word));
    };
    set_deadline(0);
    EXPECT_EQ(verdict(), uint32_t{XDP_PASS});
    set_deadline(PS_GATE_FOREVER);
    EXPECT_EQ(verdict(), uint32_t{XDP_DROP});
    set_deadline(coarse_now() - 2 * tick);
    EXPECT_EQ(verdict(), uint32_t{XDP_PASS}) << "the gate's clock is behind";
    // However busy the machine: a verdict counts only if our clock says that the gate had to know.
    const uint64_t deadline = coarse_now() + 100'000'000;
    set_deadline(deadline);
    size_t before = 0, after = 0;
    while (after < 3) {
      const uint64_t first = coarse_now();
      const uint32_t got = verdict();
      const uint64_t last = coarse_now();
      if (last + 2 * tick < deadline) {
        EXPECT_EQ(got, uint32_t{XDP_DROP}) << "back too early";
        ++before;
      } else if (first > deadline + 2 * tick) {
        EXPECT_EQ(got, uint32_t{XDP_PASS}) << "back too late";
        ++after;
      }
      usleep(2000);
    }
    EXPECT_GT(before, 0u);
  }
}

// Kernels from 5.12 to 5.17 have the level atomics and no frames of several pieces.
TEST(Levels, WithoutFrames) {
  Generator generator(5);
  const Config config = generator.config();
  for (const Level level : loadable_levels()) {
    SCOPED_TRACE(level_name(level));
    auto datapath = Datapath::load(config, "a", {.level = level, .linear = true});
    ASSERT_TRUE(datapath) << datapath.error().message();
    stay_on_this_cpu();
    model::Memory memory;
    for (uint64_t n = 0; n < 2000; ++n) {
      const Frame frame = generator.frame(true, 1500);
      datapath->set_now(1 + n);
      const auto got = datapath->run(frame);
      ASSERT_TRUE(got) << got.error().message();
      EXPECT_EQ(*got, model::judge(config, config.interfaces.front(), frame, {.now = 1 + n, .memory = &memory}));
    }
    EXPECT_FALSE(datapath->run(Frame(6000), 100)) << "the kernel gave a frame of several pieces to a program that knows none";
  }
}

// run() compares the counters with what should be there: here nothing, whatever was judged.
TEST(Levels, NoWriteLeavesTheCounters) {
  Generator generator(6);
  const Config config = generator.config();
  auto datapath = Datapath::load(config, "a", {.no_write = true});
  ASSERT_TRUE(datapath) << datapath.error().message();
  for (int n = 0; n < 2000; ++n) {
    const Frame frame = generator.frame(true, 1500);
    const auto got = datapath->run(frame);
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(*got, model::judge(config, config.interfaces.front(), frame));
  }
}

}  // namespace
}  // namespace penstock::packet_test
