#include "core/plan/carry.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "bpf/counters.h"
#include "core/kernel/bpf.h"
#include "core/plan/loader.h"
#include "core/plan/revisions.h"

namespace penstock {
namespace {

// A map with lanes in two generations, where it is not the same map.
struct TwoMaps {
  Mapping before, after;
  size_t value_size = 0, before_stride = 0, after_stride = 0;  // bytes; entries a lane
};
Result<std::optional<TwoMaps>> two_maps(const Instance& instance, uint64_t from, uint64_t to, const std::string& name) {
  if (from == 0 || from == to) return std::nullopt;
  auto before = open_pin(instance.generation(from) + "/" + name);
  auto after = open_pin(instance.generation(to) + "/" + name);
  if (!before || !after) return std::nullopt;
  TRY_ASSIGN(const bpf_map_info before_info, map_info(before->get()));
  TRY_ASSIGN(const bpf_map_info after_info, map_info(after->get()));
  if (before_info.id == after_info.id) return std::nullopt;
  TwoMaps out;
  out.value_size = before_info.value_size;
  out.before_stride = before_info.max_entries / counter_lanes();
  out.after_stride = after_info.max_entries / counter_lanes();
  TRY_ASSIGN(out.before, map_memory(before->get()));
  TRY_ASSIGN(out.after, map_memory(after->get()));
  return std::optional<TwoMaps>(std::move(out));
}

}  // namespace

Result<> carry_counters(const Instance& instance, uint64_t from, uint64_t to, const std::string& name) {
  TRY_ASSIGN(const std::optional<TwoMaps> maps, two_maps(instance, from, to, name));
  if (!maps) return {};
  const bool slots = name == "counters";
  std::set<size_t> known;  // a slot that only the new revision names may have been somebody else's
  if (slots) {
    const Revisions revisions(instance);
    if (!revisions.read(from)) return {};  // nobody knows any more what its slots meant
    for (const Revision& revision : revisions.all())
      if (revision.number != to)
        for (const Slot& slot : revision.slots) known.insert(slot.number);
  }
  const size_t lanes = counter_lanes(), words = maps->value_size / sizeof(uint64_t);
  const auto* in = maps->before.as<uint64_t>();
  auto* out = maps->after.as<uint64_t>() + (lanes - 1) * maps->after_stride * words;
  for (size_t slot = 0; slot < std::min(maps->before_stride, maps->after_stride); ++slot) {
    if (slots && !known.contains(slot)) continue;
    for (size_t word = slot * words; word < (slot + 1) * words; ++word) {
      uint64_t sum = 0;
      for (size_t lane = 0; lane < lanes; ++lane) sum += in[lane * maps->before_stride * words + word];
      out[word] = sum;
    }
  }
  return {};
}

Result<> return_counters(const Instance& instance, uint64_t from, uint64_t to) {
  TRY_ASSIGN(const std::optional<TwoMaps> maps, two_maps(instance, from, to, "counters"));
  if (!maps) return {};
  const size_t lanes = counter_lanes();
  auto* out = maps->before.as<ps_counter>() + (lanes - 1) * maps->before_stride;
  for (size_t slot = 0; slot < std::min(maps->before_stride, maps->after_stride); ++slot) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      const ps_counter c = std::exchange(maps->after.as<ps_counter>()[lane * maps->after_stride + slot], ps_counter{});
      out[slot].packets += c.packets;
      out[slot].bytes += c.bytes;
    }
  }
  return {};
}

Result<> clear_new_slots(int counters, const std::vector<Slot>& slots, const std::vector<Slot>& known) {
  std::set<uint32_t> kept;
  for (const Slot& slot : known) kept.insert(slot.number);
  TRY_ASSIGN(const bpf_map_info info, map_info(counters));
  TRY_ASSIGN(const Mapping memory, map_memory(counters));
  const uint32_t lanes = counter_lanes(), stride = info.max_entries / lanes;
  for (const Slot& slot : slots)
    for (uint32_t lane = 0; lane < lanes && slot.number < stride && !kept.contains(slot.number); ++lane)
      memory.as<ps_counter>()[size_t{lane} * stride + slot.number] = {};
  return {};
}

}  // namespace penstock
