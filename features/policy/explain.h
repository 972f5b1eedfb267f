// What programs found in policies, in words.
#pragma once
#include <string>
#include <vector>

#include "core/plan/explanation.h"
#include "core/plan/slots.h"
#include "features/policy/config.h"

namespace penstock {

// The policies that judge what arrives on an interface, in order.
std::vector<const Policy*> policies_on(const std::vector<Policy>& policies, const std::string& interface);

// For each rule that matched: its number and name, and what it does.  `policies` as above; both must outlive the teller.
Teller tell_policies(std::vector<const Policy*> policies, const std::vector<Slot>& slots);

// The default of a policy in words, when a packet was judged by it: "edge: none of 5 rules matches, ...".
Step default_step(const std::vector<const Policy*>& policies, const Slot& slot);

}  // namespace penstock
