// From an image to loaded programs and filled tables.  Nothing is pinned or attached here.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bpf/counters.h"
#include "bpf/trace.h"
#include "core/kernel/objects.h"
#include "core/plan/image.h"

namespace penstock {

struct LoadOptions {
  ps_core_const core{};               // trace, replay, no_write; counter lanes and stride are filled in
  std::map<std::string, int> shared;  // by map name: use this one (counters, state of sets, an unchanged table)
  std::map<std::string, Bytes> constants;  // instead of the image's, by symbol (replay of raw IP packets)
  bool behind = true;                 // load what stands behind XDP, too
  std::optional<Level> level;         // instead of the best that the kernel knows (tests)
};

struct Loaded {
  std::vector<Object> objects;        // one a hook, in the order of Image::hooks
  std::map<size_t, Object> behind;    // by hook: what stands at the tc ingress behind it, where anything does
  int program(size_t hook) const { return objects[hook].program("penstock_xdp"); }
  int tc(size_t hook) const {         // -1: none
    const auto found = behind.find(hook);
    return found == behind.end() ? -1 : found->second.program("penstock_tc");
  }
  int map(const std::string& name) const { return objects.empty() ? -1 : objects.front().map(name); }
};

// Every hook's program shares the tables, which the first one creates in the image's size and which are filled before
// this returns.  An error names the hook and carries the kernel's words.
Result<Loaded> load_image(const Image& image, const LoadOptions& options);

// Does the map hold what one packet needs and nothing that outlives it?  Such a map belongs to its program alone; all others
// are tables or state.
bool is_scratch(const std::string& map);

// Lanes of the counters on this machine: one for each possible CPU and one for user space.
unsigned counter_lanes();

}  // namespace penstock
