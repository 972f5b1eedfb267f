// syn-proxy: ports of an interface whose SYNs are answered with cookies when there are too many of them.
#pragma once
#include <cstdint>
#include <vector>

#include "core/base/result.h"

namespace penstock {

struct SynProxy {
  std::vector<uint32_t> ports;   // TCP, host order; ascending, never empty, no duplicates
  uint32_t over = 0;             // SYNs a second, to all of the ports together
  Location at;
};

}  // namespace penstock
