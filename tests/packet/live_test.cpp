// Replay must say what the node does: the same packets through the pinned program of an applied generation and through
// replay end in the same verdict and the same bytes.  Needs root.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "app/prepare.h"
#include "app/replay.h"
#include "core/kernel/bpf.h"
#include "tests/packet/generate.h"

namespace penstock {
namespace {

const char* const node =
    "version: 1\n"
    "interfaces:\n"
    "  wan: { match: pslive0 }\n"
    "sets:\n"
    "  some: { prefixes: [10.0.0.0/9, 192.0.2.0/25, 172.16.0.0/13, \"2001:db8::/33\", \"fe80::/11\"] }\n"
    "policies:\n"
    "  first:\n"
    "    attach: [wan.ingress]\n"
    "    rules:\n"
    "      - { name: few,   proto: udp, to-port: 0-1023, action: drop }\n"
    "      - { name: some,  from: some, action: accept }\n"
    "      - { name: icmp,  proto: icmp, action: drop }\n"
    "  second:\n"
    "    attach: [wan.ingress]\n"
    "    default: drop\n"
    "    rules:\n"
    "      - { name: tcp,   proto: tcp, action: accept }\n"
    "      - { name: other, to: some, action: accept }\n";

// A network of its own with one device, and an instance of its own in it.
class Live : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "root is needed";
    ASSERT_EQ(std::system("ip link add pslive0 type veth peer name pslive1 && ip link set pslive0 up && ip link set pslive1 up"), 0);
    auto named = Instance::named(fmt::format("live-{}", getpid()));
    ASSERT_TRUE(named) << named.error().message();
    instance = *named;
    ASSERT_TRUE(ensure_bpffs());
    ASSERT_TRUE(make_directories(instance.run));
    file = instance.run + "/node.yaml";
    std::ofstream(file) << node;
  }
  void TearDown() override {
    if (instance.state.empty()) return;
    EXPECT_TRUE(remove_all(instance));
    std::filesystem::remove_all(instance.state);
    std::filesystem::remove_all(instance.run);
  }
  Instance instance;
  std::string file;
};

TEST_F(Live, ReplayEqualsThePinnedProgram) {
  auto prepared = prepare(instance, file);
  ASSERT_TRUE(prepared) << prepared.error().message();
  auto loaded = load_candidate(instance, *prepared);
  ASSERT_TRUE(loaded) << loaded.error().message();
  const auto applied = carry_out(instance, prepared->change, *loaded);
  ASSERT_TRUE(applied) << applied.error().message();
  const auto program = open_pin(instance.generation(applied->generation) + "/hook-0");
  ASSERT_TRUE(program) << program.error().message();
  auto replay = Replay::open(prepared->change.image, World::replay);
  ASSERT_TRUE(replay) << replay.error().message();

  packet_test::Generator generator(7);
  size_t passed = 0, dropped = 0;
  std::vector<uint8_t> out(4096);
  for (int i = 0; i < 20'000; ++i) {
    const packet_test::Frame frame = generator.frame(true, 1500);
    LIBBPF_OPTS(bpf_test_run_opts, run);
    run.data_in = frame.data();
    run.data_size_in = static_cast<uint32_t>(frame.size());
    run.data_out = out.data();
    run.data_size_out = static_cast<uint32_t>(out.size());
    run.repeat = 1;
    ASSERT_EQ(bpf_prog_test_run_opts(program->get(), &run), 0);
    const auto judged = replay->run(0, frame, false, static_cast<uint64_t>(i));
    ASSERT_TRUE(judged) << judged.error().message();
    ASSERT_EQ(static_cast<uint32_t>(judged->verdict), run.retval) << "frame " << i;
    ASSERT_EQ(judged->bytes, std::vector<uint8_t>(out.begin(), out.begin() + run.data_size_out)) << "frame " << i;
    ++(judged->verdict == PS_PASS ? passed : dropped);
  }
  // Or nothing was compared.
  EXPECT_GT(passed, 1000u);
  EXPECT_GT(dropped, 1000u);
}

}  // namespace
}  // namespace penstock
