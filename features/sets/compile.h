// Sets -> the tables `sets`, `set_lines` and `set_hit_owners`.  Pure.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/plan/image.h"
#include "core/plan/set_registry.h"
#include "features/sets/config.h"
#include "features/sets/constants.h"
#include "features/sets/hits.h"

namespace penstock {

// What outlives generations, see elements.h.
struct KnownSets {
  std::map<std::string, uint32_t> numbers;                       // given out and still held, by name
  std::vector<set_hit_owner> owners;                             // of the generation that runs
  std::map<std::string, std::vector<sets::Element>> run_time;    // run-time elements of sets that count, by name
  unsigned lanes = 1;                                            // of counters on this machine
};

struct CompiledSets {
  std::vector<TableImage> tables;
  std::vector<SetImage> sets;            // those with a name
  std::map<std::string, uint32_t> sizes; // Image::sizes
  ps_set_const constants{};
};

// used: by index, as programs look them up.  sets: of the file; a used name that is not among them is an error.
Result<CompiledSets> compile_sets(const std::vector<SetUse>& used, const std::vector<Set>& sets, KnownSets known = {});

}  // namespace penstock
