#include "core/plan/totals.h"

#include "core/kernel/bpf.h"
#include "core/plan/loader.h"

namespace penstock {

Result<std::vector<ps_counter>> read_counters(int map, const std::vector<Slot>& slots) {
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  TRY_ASSIGN(const Mapping memory, map_memory(map));
  const uint32_t lanes = counter_lanes(), stride = info.max_entries / lanes;
  std::vector<ps_counter> out;
  out.reserve(slots.size());
  for (const Slot& slot : slots) {
    ps_counter sum{};
    for (uint32_t lane = 0; lane < lanes && slot.number < stride; ++lane) {
      const ps_counter& c = memory.as<ps_counter>()[size_t{lane} * stride + slot.number];
      sum.packets += c.packets;
      sum.bytes += c.bytes;
    }
    out.push_back(sum);
  }
  return out;
}

Result<std::vector<ps_counter>> read_counters(const Instance& instance, uint64_t generation, const std::vector<Slot>& slots) {
  TRY_ASSIGN(const Fd map, open_pin(instance.generation(generation) + "/counters"));
  return read_counters(map.get(), slots);
}

}  // namespace penstock
