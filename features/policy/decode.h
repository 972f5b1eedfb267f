// The section `policies` of the file.
#pragma once
#include "core/config/types.h"
#include "features/policy/config.h"

namespace penstock {

// Refers to names of the kinds "interface" and "set"; defines "rule", both as "policy/rule" and as "rule".
// `rule_extensions` are the keys that other features add to a rule; their values are found in Rule::extensions.
Type<std::vector<Policy>> policies_type(const std::vector<Extension>& rule_extensions = {});

}  // namespace penstock
