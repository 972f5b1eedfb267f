#include "core/plan/shared_maps.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "bpf/counters.h"
#include "core/kernel/bpf.h"
#include "core/plan/loader.h"
#include "core/plan/revisions.h"
#include "core/plan/totals.h"

namespace penstock {

namespace fs = std::filesystem;

namespace {

constexpr uint32_t first_counter_slots = 4096;

// State in lines of its own, which a later generation may need more of: it shares the map of the one before unless that is too small.
constexpr const char* grown_maps[] = {"limit_lines", "service_flows", "service_states", "service_ports", "service_clients"};

}  // namespace

bool is_generation_map(const std::string& name) {
  return std::ranges::find(laned_maps, name) != std::end(laned_maps) || std::ranges::find(grown_maps, name) != std::end(grown_maps);
}

Result<std::map<std::string, Fd>> shared_maps(const Instance& instance, const Image& image, uint64_t from, const std::vector<bool>& known) {
  std::map<std::string, Fd> out;
  uint32_t slots = first_counter_slots;
  while (slots < image.slot_end) slots *= 2;
  const Revisions revisions(instance);
  if (from != 0 && revisions.head(from)) {  // without its revision nobody knows what its slots mean
    if (auto counters = open_pin(instance.generation(from) + "/counters")) {
      TRY_ASSIGN(const bpf_map_info info, map_info(counters->get()));
      if (info.max_entries / counter_lanes() >= image.slot_end) out["counters"] = std::move(*counters);
    }
  }
  if (!out.contains("counters")) {
    TRY_ASSIGN(out["counters"], create_map({BPF_MAP_TYPE_ARRAY, "counters", 4, sizeof(ps_counter), slots * counter_lanes(), BPF_F_MMAPABLE}));
  }
  TRY(clear_new_slots(out["counters"].get(), image.slots, known));
  for (const char* name : {"set_hits", "limit_lines", "service_flows", "service_states", "service_ports", "service_clients"}) {
    const auto wanted = image.sizes.find(name);
    if (from == 0 || wanted == image.sizes.end() || wanted->second == 0) continue;
    if (auto map = open_pin(instance.generation(from) + "/" + name)) {
      TRY_ASSIGN(const bpf_map_info info, map_info(map->get()));
      if (info.max_entries == wanted->second) out[name] = std::move(*map);
    }
  }
  TRY_ASSIGN(auto state, state_maps(instance, image));
  out.merge(state);
  return out;
}

Result<std::map<std::string, Fd>> state_maps(const Instance& instance, const Image& image) {
  std::map<std::string, Fd> out;
  std::error_code error;
  for (fs::directory_iterator it(instance.pins("shared"), error), end; !error && it != end; it.increment(error)) {
    TRY_ASSIGN(Fd map, open_pin(it->path()));
    const std::string name = it->path().filename();
    // Tables and scratch memory never belong here, but earlier versions may have put them.
    if (is_scratch(name) || std::ranges::find(image.tables, name, &TableImage::map) != image.tables.end()) continue;
    if (const auto wanted = image.sizes.find(name); wanted != image.sizes.end() && wanted->second != 0) {
      TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
      if (info.max_entries != wanted->second)
        return fail(fmt::format("the map {} has {} entries, not {}: another version of penstock made it", it->path().string(), info.max_entries, wanted->second),
                    "`penstock off`, then apply: what is saved on disk comes back");
    }
    out[name] = std::move(map);
  }
  return out;
}

}  // namespace penstock
