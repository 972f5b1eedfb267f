// Maps that outlive generations: what programs count, and the state of features.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/plan/image.h"
#include "core/plan/instance.h"

namespace penstock {

// What programs count, one lane of 64-bit words for each CPU and the last one for user space: generations share such a
// map until it has to grow, and then its sums are carried over (core/plan/totals.h).
inline constexpr const char* laned_maps[] = {"counters", "set_hits"};

// Is the map pinned with each generation that uses it, since a later one may need a larger one?  All other state is pinned
// once, in `shared`.
bool is_generation_map(const std::string& name);

// The maps that the image's programs share with generation `from`, opened or created; by map name.
// known: the slots that kept revisions name, by number.
Result<std::map<std::string, Fd>> shared_maps(const Instance& instance, const Image& image, uint64_t from, const std::vector<bool>& known);

// Of these, the ones that no generation owns: what runs and what comes share them.
Result<std::map<std::string, Fd>> state_maps(const Instance& instance, const Image& image);

}  // namespace penstock
