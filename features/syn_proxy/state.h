// The state that SYN proxies keep in the kernel, for all generations.
#pragma once
#include <optional>

#include "core/base/result.h"
#include "core/plan/instance.h"

namespace penstock {

// Gives the map `syn_proxy` its key, at random, where it has none.  -1: there is no such map.
Result<> start_syn_proxy(int map);

struct SynProxyNow {
  uint32_t syns = 0;        // in the running second, counted up to the interface's rate
  bool answers = false;     // cookies are sent
};
// Of the interface with this number in the file's order.  Nothing: no SYN proxy runs.
Result<std::optional<SynProxyNow>> syn_proxy_now(const Instance& instance, uint32_t interface);

}  // namespace penstock
