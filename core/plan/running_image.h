// What judges packets now, as an image that can be loaded a second time: constants read from the program that runs, maps
// opened by their pins.  For commands that look without changing anything.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "bpf/counters.h"
#include "core/plan/image.h"
#include "core/plan/revisions.h"
#include "core/plan/running.h"

namespace penstock {

struct RunningImage {
  Revision revision;                // the newest of the generation: what its slots mean, and where in the file
  Image image;                      // hooks with all their constants but core_const, and slots; no tables
  ps_core_const core{};             // as the programs were told
  std::vector<Fd> programs;         // by hook
  std::map<size_t, Fd> behind;      // by hook: what stands at the tc ingress behind it
  std::map<std::string, Fd> maps;   // tables and state, live: whoever shares them must not write
};

// Errors: nothing runs, its revision is gone, or another version of penstock loaded it.
Result<RunningImage> running_image(const Instance& instance, const Running& running);

}  // namespace penstock
