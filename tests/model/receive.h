// What becomes of a packet that a balancer encapsulated, told from the RFCs.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "features/receive/config.h"
#include "tests/model/packet.h"

namespace penstock::model {

struct Received {
  std::string reason;             // of bpf/reasons.def
  std::vector<uint8_t> frame{};   // the frame that goes on, where it was stripped
};

// Nothing: the packet is not encapsulated, as far as `receive` goes.  `from`: whether its source is one of receive.from.
// `linear`: how many bytes lie in the frame's first piece.
std::optional<Received> receive(const Receive& receive, std::span<const uint8_t> frame, const Packet& packet, bool from, bool ethernet, size_t linear);

}  // namespace penstock::model
