// The detached guard of a change that waits to be confirmed.  The kernel takes programs back by itself; settings of
// devices it cannot, so somebody has to be there at the deadline, also if the session that asked is dead.
#pragma once
#include "core/plan/instance.h"

namespace penstock {

// Starts `penstock settle --wait` for this instance, out of reach of the session's end: a transient unit where systemd
// runs, else a process in a session of its own.  It waits for the lock, so the caller may hold it.
Result<> start_guard(const Instance& instance);

}  // namespace penstock
