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

// A generation whose own tables take more memory than this is not kept as a spare, bytes.
inline constexpr size_t spare_bytes_max = 32u << 20;

struct LoadOptions {
  ps_core_const core{};               // trace, replay, no_write; counter lanes and stride are filled in
  std::map<std::string, int> shared;  // by map name: use this one (counters, state of sets, an unchanged table)
  std::map<std::string, Bytes> constants;  // instead of the image's, by symbol (replay of raw IP packets)
  bool behind = true;                 // load what stands behind XDP, too
  std::optional<Level> level;         // instead of the best that the kernel knows (tests)
};

// Programs and the maps that they share: freshly loaded, or standing ones that were opened (core/plan/spare.h).
struct Loaded {
  std::vector<Object> objects;        // one a hook, in the order of Image::hooks; none where they stood already
  std::vector<Fd> standing;           // likewise, where they did
  std::map<size_t, Object> behind;    // by hook: what stands at the tc ingress behind it, where anything does and was loaded
  std::map<std::string, Fd> tables;   // by name, of standing programs; and state that they share

  size_t hooks() const { return standing.empty() ? objects.size() : standing.size(); }
  int program(size_t hook) const { return standing.empty() ? objects[hook].program("penstock_xdp") : standing[hook].get(); }
  int tc(size_t hook) const {         // -1: none
    const auto found = behind.find(hook);
    return found == behind.end() ? -1 : found->second.program("penstock_tc");
  }
  int map(const std::string& name) const;
  std::map<std::string, int> maps() const;
};

// Every hook's program shares the tables, which the first one creates in the image's size and which are filled before
// this returns.  An error names the hook and carries the kernel's words.
Result<Loaded> load_image(const Image& image, const LoadOptions& options);

// Writes a table's content over that of its map, which must have room for it and values of its size.
Result<> fill(int map, const TableImage& table);

// Does the map hold what one packet needs and nothing that outlives it?  Such a map belongs to its program alone; all others
// are tables or state.
bool is_scratch(const std::string& map);

// Lanes of the counters on this machine: one for each possible CPU and one for user space.
unsigned counter_lanes();

}  // namespace penstock
