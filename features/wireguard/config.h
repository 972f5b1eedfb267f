// wireguard: ports of an interface to which only real WireGuard passes.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/result.h"
#include "core/net/rate.h"

namespace penstock {

struct WireGuard {
  std::vector<uint16_t> ports{};    // UDP, host order; never empty, no duplicates
  std::optional<Rate> handshakes{};   // initiations of one source, in packets
  Location at{}, handshakes_at{};
};

}  // namespace penstock
