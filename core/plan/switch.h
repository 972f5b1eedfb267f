// The instant at which one generation judges no more and another does, on all devices.
#pragma once
#include <chrono>
#include <optional>
#include <vector>

#include "core/plan/programs.h"

namespace penstock {

// From generation `from` (0: nothing) to `to`, whose programs are pinned.  With `confirm` the gates stay and go back after that
// time; else the change is decided, and finishing it removes them.  Warnings: as attach_wanted().
Result<std::vector<Diagnostic>> switch_over(const Instance& instance, uint64_t from, uint64_t to, std::optional<std::chrono::nanoseconds> confirm);

}  // namespace penstock
