// What the counters of a generation hold: sums over all lanes.
#pragma once
#include <vector>

#include "bpf/counters.h"
#include "core/plan/instance.h"
#include "core/plan/slots.h"

namespace penstock {

// One sum for each slot, in their order.
Result<std::vector<ps_counter>> read_counters(int map, const std::vector<Slot>& slots);
Result<std::vector<ps_counter>> read_counters(const Instance& instance, uint64_t generation, const std::vector<Slot>& slots);

}  // namespace penstock
