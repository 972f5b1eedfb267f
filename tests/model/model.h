// What must happen to a packet, told in plain C++ from the documentation and the RFCs.  Shares no code with the
// programs: its own parser, its own evaluation.  Slow and simple on purpose.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "app/compile.h"
#include "tests/model/limits.h"

namespace penstock::model {

// One exit: which policy decided by which rule.  Malformed, not-ip and no-policy have neither.
struct Exit {
  std::string verdict, reason, policy, rule;
  bool operator==(const Exit&) const = default;
  std::string text() const { return verdict + ' ' + reason + ' ' + policy + '/' + rule; }
};

// Every rule that let the packet go on and every policy that judged, in order; the last exit decided.  `verdict` is what
// happens: "pass" (audit exits pass), "drop" or "tx".
struct Outcome {
  std::string verdict;
  std::vector<Exit> exits;
  std::vector<uint8_t> answer{};    // with "tx" the frame that leaves, else the one that goes on where it was stripped
  bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out);  // for a test that fails

// What earlier packets leave behind.
struct Memory {
  struct First {
    Exit exit;
    uint64_t until = 0;             // ns
  };
  std::map<std::string, First> firsts;  // fragments, by what their datagrams have in common
  uint64_t credit = 0, counted = 0;     // ns: of answers; when that was counted
  LimitMemory limits;
};

struct World {
  bool ethernet = true;             // frames begin with an Ethernet header
  bool socket_owns = false;         // a socket of the host owns every TCP and UDP packet
  NodeAddresses addresses{};        // of the interface
  uint64_t now = 0;                 // ns
  Memory* memory = nullptr;         // nullptr: nothing is remembered, every answer may go out
  size_t length = 0;                // what counts as the frame's length; 0: all of it
  size_t linear = 0;                // bytes in the frame's first piece; 0: it has no other
};

Outcome judge(const Config& config, const Interface& interface, std::span<const uint8_t> frame, const World& world = {});

}  // namespace penstock::model
