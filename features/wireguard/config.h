// wireguard: ports of an interface to which only real WireGuard passes.
#pragma once
#include <cstdint>
#include <vector>

#include "core/base/result.h"

namespace penstock {

struct WireGuard {
  std::vector<uint16_t> ports;   // UDP, host order; never empty, no duplicates
  Location at;
};

}  // namespace penstock
