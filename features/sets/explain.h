// What programs found in sets, in words.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/plan/explanation.h"
#include "core/plan/image.h"
#include "features/sets/config.h"

namespace penstock {

struct SetNames {
  const std::vector<Set>* sets = nullptr;                             // of the file
  const std::vector<SetImage>* images = nullptr;                      // their indexes in the programs
  std::function<const std::vector<Prefix>*(uint32_t index)> list;     // of a nameless set; null where it is not known
  std::string text;                                                   // of the file
};

// For each set that was asked: its name, whether the address is in it, and by which element, of the file or of run time.
Teller tell_sets(SetNames names);

}  // namespace penstock
