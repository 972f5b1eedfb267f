// The programs of an image run on packets without any interface (BPF_PROG_RUN), and the tests of a file on top of it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"
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

class Replay final : public ReplayTarget {
 public:
  // Loads the programs of `image`, which must outlive this.  Needs the capability to load XDP programs.
  static Result<Replay> open(const Image& image, World world);

  Result<Judged> run(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now) override;

 private:
  Result<const Loaded*> loaded(bool raw);
  Judged malformed(size_t hook, std::span<const uint8_t> packet) const;

  const Image* image_ = nullptr;
  World world_ = World::replay;
  Loaded ethernet_;
  std::optional<Loaded> raw_;           // the same programs for frames without Ethernet header, sharing all maps
  Mapping trace_, clock_;
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
