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

// Counters that moved to another map (`name`): what the one of `from` holds goes to the lane of user space of that of `to`.
// Set, not added, so that it can be repeated; the old map must not change any more.
Result<> carry_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name);

// The other way, when the candidate `to` is taken back: what it counted is added to what was there.  Each cell is
// emptied as it is moved, so that a repetition adds nothing twice.
Result<> return_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name);

// Slots of `slots` that are not in `known` (by number) start from zero: they may have counted for rules long forgotten.
// Nothing that runs writes to them.
Result<> clear_new_slots(int counters, const std::vector<Slot>& slots, const std::vector<bool>& known);

}  // namespace penstock
