// The section `receive` -> constants of one interface's program.
#pragma once
#include <string>

#include "core/plan/set_registry.h"
#include "core/plan/slots.h"
#include "features/receive/config.h"
#include "features/receive/tables.h"

namespace penstock {

// `malformed`: what the interface does with malformed packets, PS_DROP or PS_PASS.
ps_receive_const compile_receive(const Receive& receive, const std::string& interface, ps_verdict malformed, SetRegistry& sets, SlotTable& slots);
std::string receive_text(const Receive& receive);  // all that the file says of it: "ipip, gue 6080 from 10.0.0.0/28"

}  // namespace penstock
