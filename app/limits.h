// Limits together with the rules that they belong to.
#pragma once
#include <string>
#include <vector>

#include "app/config.h"
#include "core/config/reader.h"
#include "core/plan/slots.h"
#include "features/limits/explain.h"
#include "features/limits/state.h"
#include "features/wireguard/config.h"

namespace penstock {

// Refuses what contradicts itself; adds to config.warnings where a ban would let strangers ban others.
Result<> verify_limits(const Document& document, Config& config);

// The limit of a WireGuard guard that has `handshakes`.
Limit handshake_limit(const WireGuard& guard);

// A limit of a generation, and whose it is: "POLICY/RULE", or "INTERFACE (wireguard)".
struct RuleLimit {
  std::string name;
  ps_limit limit{};
};
std::vector<RuleLimit> rule_limits(const LiveLimits& live, const std::vector<Slot>& slots);

// A limit by its ps_limit.id, and whose it is, as above.  Both must outlive the function.
LimitById limit_by_id(const Config& config, const std::vector<Slot>& slots);

}  // namespace penstock
