// Config -> Image.  Pure: no system call.
#pragma once
#include <vector>

#include "app/config.h"
#include "core/plan/image.h"
#include "core/plan/revisions.h"

namespace penstock {

// What earlier revisions gave out and still hold.
struct Known {
  std::vector<Slot> slots;
};

Result<Image> compile(const Config& config, const Known& known = {});

}  // namespace penstock
