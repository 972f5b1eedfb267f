// Counters that move to a larger map with a generation, and back when it is taken back.
#pragma once
#include <string>
#include <vector>

#include "core/plan/instance.h"
#include "core/plan/slots.h"

namespace penstock {

// What the map `name` ("counters", "set_hits") of `from` holds goes to the lane of user space of `to`'s, where they are
// two maps.  Set, not added, so that it can be repeated; the old map no longer changes when this runs.
Result<> carry_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name);

// The other way, when a candidate with a larger map `counters` is taken back: what it counted is added to what was
// there.  Each cell is emptied as it is moved, so that a repetition adds nothing twice.
Result<> return_counters(const Instance& instance, uint64_t from, uint64_t to);

// Zeroes the slots of `slots` that `known` does not name: they may have counted for a rule that is long forgotten.
// Nothing that runs writes to them.
Result<> clear_new_slots(int counters, const std::vector<Slot>& slots, const std::vector<Slot>& known);

}  // namespace penstock
