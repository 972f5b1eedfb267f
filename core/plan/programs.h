// The programs of a generation: where they are pinned, and by device.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/plan/attachments.h"
#include "core/plan/instance.h"

namespace penstock {

// In the directory of a generation: the program of a hook, what stands at the tc ingress behind it, and what judges for risks.
std::string hook_pin(const std::string& directory, size_t hook);
std::string behind_pin(const std::string& directory, size_t hook);
std::string judge_pin(const std::string& directory, size_t hook);
// Is a pin among those of a generation one of these, by its file's name?  All others are maps.
bool is_program_pin(const std::string& name);

// The programs of a generation by device, as the devices are now.
struct Programs {
  std::vector<Fd> descriptors;
  std::vector<Wanted> wanted;
  const Wanted* of(uint32_t ifindex) const {
    const auto found = std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& w) { return w.device.ifindex == ifindex; });
    return found == wanted.end() ? nullptr : &*found;
  }
};

// Of generation 0, nothing.  Where a pin or the revision was removed by hand, what the links run, if that can be told.
Result<Programs> programs_of(const Instance& instance, uint64_t generation);

}  // namespace penstock
