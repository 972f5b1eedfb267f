// Config -> Image.  Pure: no system call.
#pragma once
#include <vector>

#include "app/config.h"
#include "core/plan/image.h"
#include "core/plan/revisions.h"
#include "features/sets/compile.h"
#include "features/policy/tables.h"

namespace penstock {

// What earlier revisions gave out and still hold.
struct Known {
  std::vector<Slot> slots;
  KnownSets sets;
  size_t rule_entries = PS_RULES_MAX_may_goto;  // that one policy may have on this kernel
};

Result<Image> compile(const Config& config, const Known& known = {});

}  // namespace penstock
