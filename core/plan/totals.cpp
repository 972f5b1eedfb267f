#include "core/plan/totals.h"

#include "core/kernel/bpf.h"
#include "core/plan/loader.h"
#include "core/plan/running.h"

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
  TRY_ASSIGN(auto totals, read_counters(map.get(), slots));
  // While a change with a larger map waits, a rule has counted in both; they are put together when it is decided.
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.transaction || running.state.generation == running.transaction->to) return totals;
  const uint64_t other = running.transaction->to == generation ? running.transaction->from : running.transaction->to;
  auto second = open_pin(instance.generation(other) + "/counters");
  if (!second) return totals;
  TRY_ASSIGN(const bpf_map_info one, map_info(map.get()));
  TRY_ASSIGN(const bpf_map_info two, map_info(second->get()));
  if (one.id == two.id) return totals;
  TRY_ASSIGN(const auto more, read_counters(second->get(), slots));
  for (size_t i = 0; i < totals.size(); ++i) {
    totals[i].packets += more[i].packets;
    totals[i].bytes += more[i].bytes;
  }
  return totals;
}

}  // namespace penstock
