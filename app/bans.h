// Bans of the rules that run: written down and put back.
#pragma once
#include <vector>

#include "core/plan/loader.h"
#include "core/plan/running.h"
#include "core/plan/slots.h"
#include "features/limits/saved_bans.h"

namespace penstock {

// Writes the bans of the generation that judges to the state directory.  Returns how many; 0 where nothing runs, and then what is
// saved stays.  The caller holds the lock.
Result<size_t> save_bans(const Instance& instance, const Running& running);

// Gives a loaded candidate, before it judges, the bans that were saved for its rules.  For when nothing runs.
Result<PutBans> restore_bans(const Instance& instance, const std::vector<Slot>& slots, const Loaded& loaded);

}  // namespace penstock
