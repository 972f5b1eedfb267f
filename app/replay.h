// The programs of an image run on packets without any interface (BPF_PROG_RUN), and the tests of a file on top of it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"
#include "core/net/mac.h"
#include "core/plan/loader.h"

namespace penstock {

// What became of one packet.
struct Judged {
  ps_verdict verdict = PS_ABORTED;      // what the program returned; a drop that audit mode only counted is a pass
  const Slot* decided = nullptr;        // the exit that decided: reason, policy, rule, place; null where none was counted
  const Slot* audited = nullptr;        // the first exit of a policy in audit mode that would have dropped it
  std::vector<uint8_t> bytes;           // as it left
};

// The interface that risks and replay run packets through.
class ReplayTarget {
 public:
  virtual ~ReplayTarget() = default;
  // `packet` arrives on hook number `hook` (of Image::hooks) at `now` (ns).  `raw`: it begins with the IP header.
  // A frame shorter than an Ethernet header is malformed without running anything: the kernel runs none that short.
  virtual Result<Judged> run(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now) = 0;
};

// How the programs see the world.
enum class World {
  replay,   // the clock is ours, no socket is found, state is empty and carries on from packet to packet
  live,     // the host's clock and sockets; nothing is counted
};

struct ReplayOptions {
  World world = World::replay;
  bool events = false;                // trace() tells events and the packet, not only exits
  std::map<std::string, int> shared{};  // maps to use in the place of own ones, live; only with World::live
  ps_core_const core{};               // what else the programs were told; trace, replay and no_write are set here
};

// Where among the policies of a hook a run begins; ReplayOptions::events must be on.
struct RunFrom {
  uint32_t policy = 0, entry = 0;
};

class Replay final : public ReplayTarget {
 public:
  // Loads the programs of `image`, which must outlive this.  Needs the capability to load XDP programs.
  static Result<Replay> open(const Image& image, const ReplayOptions& options);
  // With programs that are loaded already, as load_options() says, for `image`; the maps `trace` and `replay` are theirs.
  static Result<Replay> over(const Image& image, const ReplayOptions& options, Loaded programs);
  static LoadOptions load_options(const ReplayOptions& options);
  // The programs, for whoever keeps them.
  Loaded release() && { return std::move(ethernet_); }
  static Result<Replay> open(const Image& image, World world) { return open(image, ReplayOptions{.world = world}); }

  Result<Judged> run(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now) override { return run(hook, packet, raw, now, {}); }
  Result<Judged> run(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now, RunFrom from);

  // What the last run told.  No event where no program ran: see ReplayTarget::run.
  const ps_trace& trace() const { return *trace_.as<const ps_trace>(); }

  int program(size_t hook) const { return ethernet_.program(hook); }
  int behind(size_t hook) const { return ethernet_.tc(hook); }  // at the tc ingress; -1: none
  int map(const std::string& name) const { return ethernet_.map(name); }

  // The next hop towards `address` has this MAC (World::replay); that of others is 02:00:00:00:00:fe.
  Result<> set_neighbor(const Address& address, const Mac& mac);

  // Forgets what packets left behind (World::replay): empties every map that is no table of the image.
  Result<> forget();

 private:
  Result<const Loaded*> loaded(bool raw);
  Result<> run_behind(int program, std::span<const uint8_t> packet, bool raw);
  Judged malformed(size_t hook, std::span<const uint8_t> packet) const;
  Result<> find_state();

  const Image* image_ = nullptr;
  ReplayOptions options_;
  Loaded ethernet_;
  std::optional<Loaded> raw_;           // the same programs for frames without Ethernet header, sharing all maps
  Mapping trace_, clock_;
  struct State {
    int map = -1;
    uint32_t key_size = 0;              // of a map whose entries are deleted; else `memory` is cleared
    Mapping memory;
    std::vector<char> zeros;            // of a per-CPU array of one entry: its value for all CPUs
  };
  std::optional<std::vector<State>> state_;
  std::vector<uint8_t> out_;
  std::vector<const Slot*> slots_;      // by number
};

// The hook of an interface of the file; nothing where the file has no such interface.
std::optional<size_t> hook_of(const Image& image, const std::string& interface);

struct TestReport {
  size_t passed = 0;
  std::vector<Diagnostic> failures;     // at the test: the packet, what was expected, what was found and who decided
};

// Runs config.tests on the programs of `image`.  An error means that they could not be run at all.
Result<TestReport> run_tests(const Config& config, const Image& image);
// The same as one result: every failed test is a diagnostic of the error.
Result<size_t> require_tests(const Config& config, const Image& image);

}  // namespace penstock
