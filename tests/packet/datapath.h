// The real bytecode under test: loads the embedded program for one interface of a configuration, sends single frames
// through BPF_PROG_RUN and says what came of them.  Attaches nothing.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "app/compile.h"
#include "bpf/packet.h"
#include "core/plan/loader.h"
#include "tests/model/model.h"

namespace penstock::packet_test {

struct Options {
  Level level = Level::may_goto;
  bool ethernet = true;
  bool replay = true;   // no sockets; false: those of this machine
  bool trace = true;
  bool quotes = false;  // read what ICMP errors quote
  bool linear = false;  // load for frames of one piece
  bool no_write = false;
  NodeAddresses addresses{};   // of the interface
};

class Datapath {
 public:
  static Result<Datapath> load(const Config& config, const std::string& interface, const Options& options);

  // One frame, at least 14 bytes.  `linear`: how many bytes lie in the frame's first piece (0: as many as fit).
  // Fails when the kernel refuses the run, when the program changed a byte or the length but for an answer, to strip encapsulation or for
  // the next hop (Outcome::answer is what it became), when the counters are
  // not the sum of the exits so far, or when the XDP code contradicts the deciding exit.
  Result<model::Outcome> run(std::span<const uint8_t> frame, size_t linear = 0);

  // The clock of replay, ns.
  void set_now(uint64_t now) { replay_.as<ps_replay>()->now = now; }

  // The counter slots of a rule.
  std::set<uint32_t> slots_of(const std::string& rule) const {
    std::set<uint32_t> out;
    for (const Slot& slot : slots_)
      if (slot.rule == rule) out.insert(slot.number);
    return out;
  }

  // What the program parsed of the last frame.
  Result<ps_packet> parsed() const;

  Result<uint32_t> verified_instructions() const;  // as the kernel counted them
  int program() const { return loaded_.program(0); }
  int behind() const { return loaded_.tc(0); }  // at the tc ingress; -1: none
  int map(const std::string& name) const { return loaded_.map(name); }
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  Datapath() = default;
  Loaded loaded_;
  std::vector<Slot> slots_;
  Mapping trace_, counters_, replay_;
  size_t stride_ = 0;
  bool no_write_ = false, ethernet_ = true;
  std::vector<ps_counter> expected_;  // by slot, of all runs so far
  std::vector<uint8_t> out_;
};

// What of a frame, given as to Datapath::run(), counts as its length.
size_t counted_bytes(std::span<const uint8_t> frame, size_t linear, bool ethernet);

// Scratch memory is per CPU: whoever asks for parsed() stays on one.
void stay_on_this_cpu();

// Levels whose opcodes this kernel knows, best first.
std::vector<Level> loadable_levels();

}  // namespace penstock::packet_test
