#include "core/plan/totals.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "core/kernel/bpf.h"
#include "core/plan/loader.h"
#include "core/plan/revisions.h"
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

namespace {

// The two maps `name` of two generations, where they are not one and the same.
struct Pair {
  Mapping from, to;
  size_t lanes = counter_lanes(), words = 0;  // words of 64 bits in an element
  size_t from_lane = 0, to_lane = 0;          // words in a lane
  size_t common() const { return std::min(from_lane, to_lane); }
};

Result<std::optional<Pair>> open_pair(const Instance& instance, uint64_t from, uint64_t to, const std::string& name) {
  if (from == 0 || to == 0 || from == to) return std::nullopt;
  auto one = open_pin(instance.generation(from) + "/" + name);
  auto two = open_pin(instance.generation(to) + "/" + name);
  if (!one || !two) return std::nullopt;
  TRY_ASSIGN(const bpf_map_info one_info, map_info(one->get()));
  TRY_ASSIGN(const bpf_map_info two_info, map_info(two->get()));
  if (one_info.id == two_info.id) return std::nullopt;
  Pair pair;
  TRY_ASSIGN(pair.from, map_memory(one->get()));
  TRY_ASSIGN(pair.to, map_memory(two->get()));
  pair.words = one_info.value_size / sizeof(uint64_t);
  pair.from_lane = one_info.max_entries / pair.lanes * pair.words;
  pair.to_lane = two_info.max_entries / pair.lanes * pair.words;
  return pair;
}

}  // namespace

Result<> carry_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name) {
  TRY_ASSIGN(const auto pair, open_pair(instance, from, to, name));
  if (!pair) return {};
  const Revisions revisions(instance);
  if (!revisions.head(from)) return {};  // nobody knows any more what its slots meant
  const std::vector<bool> known = slot_numbers(revisions.known_slots(to));  // a slot that only the new revision names may have been somebody else's
  const auto* in = pair->from.as<uint64_t>();
  auto* out = pair->to.as<uint64_t>() + (pair->lanes - 1) * pair->to_lane;
  for (size_t word = 0; word < pair->common(); ++word) {
    if (name == "counters" && !(word / pair->words < known.size() && known[word / pair->words])) continue;
    uint64_t sum = 0;
    for (size_t lane = 0; lane < pair->lanes; ++lane) sum += in[lane * pair->from_lane + word];
    out[word] = sum;
  }
  return {};
}

Result<> return_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name) {
  TRY_ASSIGN(const auto pair, open_pair(instance, from, to, name));
  if (!pair) return {};
  auto* in = pair->to.as<uint64_t>();
  auto* out = pair->from.as<uint64_t>() + (pair->lanes - 1) * pair->from_lane;
  for (size_t word = 0; word < pair->common(); ++word)
    for (size_t lane = 0; lane < pair->lanes; ++lane) out[word] += std::exchange(in[lane * pair->to_lane + word], 0);
  return {};
}

Result<> clear_new_slots(int counters, const std::vector<Slot>& slots, const std::vector<bool>& known) {
  TRY_ASSIGN(const bpf_map_info info, map_info(counters));
  TRY_ASSIGN(const Mapping memory, map_memory(counters));
  const uint32_t lanes = counter_lanes(), stride = info.max_entries / lanes;
  for (const Slot& slot : slots)
    for (uint32_t lane = 0; lane < lanes && slot.number < stride && !(slot.number < known.size() && known[slot.number]); ++lane)
      memory.as<ps_counter>()[size_t{lane} * stride + slot.number] = {};
  return {};
}

}  // namespace penstock
