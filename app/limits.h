// What a rule's limit means together with the rest of the rule.
#pragma once
#include "app/config.h"
#include "core/config/reader.h"

namespace penstock {

// Refuses what contradicts itself; adds to config.warnings where a ban would let strangers ban others.
Result<> verify_limits(const Document& document, Config& config);

}  // namespace penstock
