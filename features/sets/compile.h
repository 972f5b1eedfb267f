// Sets -> the tables `sets` and `set_lines`.  Pure.
#pragma once
#include <vector>

#include "core/plan/image.h"
#include "core/plan/set_registry.h"
#include "features/sets/config.h"

namespace penstock {

struct CompiledSets {
  std::vector<TableImage> tables;
  std::vector<SetImage> sets;  // those with a name
};

// used: by index, as programs look them up.  sets: of the file; a used name that is not among them is an error.
Result<CompiledSets> compile_sets(const std::vector<SetUse>& used, const std::vector<Set>& sets);

}  // namespace penstock
