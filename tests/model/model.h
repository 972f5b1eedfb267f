// What must happen to a packet, told in plain C++ from the documentation and the RFCs.  Shares no code with the
// programs: its own parser, its own evaluation.  Slow and simple on purpose.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"

namespace penstock::model {

// One exit: which policy decided by which rule.  Malformed, not-ip and no-policy have neither.
struct Exit {
  std::string verdict, reason, policy, rule;
  bool operator==(const Exit&) const = default;
  std::string text() const { return verdict + ' ' + reason + ' ' + policy + '/' + rule; }
};

// Every policy that judged, in order; the last exit decided.  `verdict` is what happens: "pass" or "drop" (audit
// exits pass).
struct Outcome {
  std::string verdict;
  std::vector<Exit> exits;
  bool operator==(const Outcome&) const = default;
};

struct World {
  bool ethernet = true;             // frames begin with an Ethernet header
  bool socket_owns = false;         // a socket of the host owns every TCP and UDP packet
};

Outcome judge(const Config& config, const Interface& interface, std::span<const uint8_t> frame, const World& world = {});

}  // namespace penstock::model
