// An interface's constants: what its program needs to know whatever its policies are.
#pragma once
#include "bpf/hook.h"
#include "core/plan/slots.h"
#include "features/interfaces/config.h"

namespace penstock {

// `number` counts the interfaces of the file from 0.  The value of symbol `hook_const`.
ps_hook_const compile_interface(const Interface& interface, uint32_t number, SlotTable& slots);

}  // namespace penstock
