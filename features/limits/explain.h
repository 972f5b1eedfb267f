// What limits found, in words.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "core/plan/explanation.h"
#include "features/limits/config.h"

namespace penstock {

struct NamedLimit {
  std::string rule;        // POLICY/RULE, or what else has it
  Limit limit;
};

// The limit with this ps_limit.id.
using LimitById = std::function<std::optional<NamedLimit>(uint32_t id)>;

Teller tell_limits(LimitById by_id);

}  // namespace penstock
