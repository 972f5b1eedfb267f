#include "core/plan/loader.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace penstock {
namespace {

// Tables get an eighth more room than their content needs, so that changed content finds place in it; large ones, which
// are not kept for that (core/plan/spare.h), get none.
size_t capacity(const TableImage& table) {
  const size_t entries = std::max<size_t>(1, table.value_size ? table.data.size() / table.value_size : 0);
  return table.state || table.data.size() > spare_bytes_max ? entries : entries + entries / 8 + 16;
}

// The program at the tc ingress behind a hook: with the same constants, on the same maps.
Result<Object> load_behind(const HookImage& hook, const ps_core_const& core, const LoadOptions& options, Level level, const Object& front) {
  TRY_ASSIGN(Object object, Object::open(hook.behind, level));
  TRY(object.constant("core_const", bytes_of(core)));
  for (const auto& [symbol, value] : hook.constants) {
    const auto other = options.constants.find(symbol);
    if (object.has_constant(symbol)) TRY(object.constant(symbol, other == options.constants.end() ? value : other->second));
  }
  for (const auto& [name, fd] : front.maps())
    if (object.has_map(name)) TRY(object.reuse(name, fd));
  if (auto done = object.load(); !done) {
    Error error = std::move(done).error();
    error.diagnostics.front().message = fmt::format("interface {}: {}", hook.interface, error.message());
    return Failure(std::move(error));
  }
  return object;
}

}  // namespace

int Loaded::map(const std::string& name) const {
  if (const auto found = tables.find(name); found != tables.end()) return found->second.get();
  return objects.empty() ? -1 : objects.front().map(name);
}

std::map<std::string, int> Loaded::maps() const {
  std::map<std::string, int> out;
  if (!objects.empty()) out = objects.front().maps();
  for (const auto& [name, fd] : tables) out[name] = fd.get();
  return out;
}

Result<> fill(int map, const TableImage& table) {
  if (table.data.empty()) return {};
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  if (info.value_size != table.value_size)
    return fail(fmt::format("table {} has values of {} bytes, its map of {}", table.map, table.value_size, info.value_size));
  const size_t count = table.data.size() / table.value_size;
  if (count > info.max_entries) return fail(fmt::format("table {} has {} entries, its map {}", table.map, count, info.max_entries));
  if (info.map_flags & BPF_F_MMAPABLE) {
    TRY_ASSIGN(const Mapping memory, map_memory(map));
    const size_t stride = (table.value_size + 7u) / 8 * 8;
    if (stride == table.value_size) {
      std::memcpy(memory.as<std::byte>(), table.data.data(), table.data.size());
    } else {
      for (size_t i = 0; i < count; ++i)
        std::memcpy(memory.as<std::byte>() + i * stride, table.data.data() + i * table.value_size, table.value_size);
    }
    return {};
  }
  for (uint32_t i = 0; i < count; ++i) TRY(map_update(map, &i, table.data.data() + size_t{i} * table.value_size));
  return {};
}

bool is_scratch(const std::string& map) {
  static constexpr const char* names[] = {"scratch", "trace", "replay", "packet_copies", "class_walks", "syn_scratch", "syn_takens",
                                          "service_scratch", "service_hops", "service_turns", "replay_neighbors",
                                          "nat_scratch", "service_client_hops"};
  return std::ranges::find(names, map) != std::end(names);
}

unsigned counter_lanes() {
  static const int cpus = std::max(1, libbpf_num_possible_cpus());
  return static_cast<unsigned>(cpus) + 1;
}

Result<Loaded> load_image(const Image& image, const LoadOptions& options) {
  TRY_ASSIGN(const Level best, kernel_level());
  const Level level = options.level.value_or(best);
  Loaded loaded;
  std::map<std::string, int> shared = options.shared;
  std::set<std::string> tables;
  for (const TableImage& table : image.tables) tables.insert(table.map);

  for (const HookImage& hook : image.hooks) {
    TRY_ASSIGN(Object object, Object::open(hook.object, level));
    ps_core_const core = options.core;
    core.no_ethernet = hook.raw || options.core.no_ethernet;
    if (core.linear) object.without_frags();
    core.linear = !object.frags();
    core.counter_lanes = counter_lanes();
    if (const auto counters = shared.find("counters"); counters != shared.end()) {
      TRY_ASSIGN(const bpf_map_info info, map_info(counters->second));
      core.counter_stride = info.max_entries / core.counter_lanes;
    } else {
      core.counter_stride = std::max(image.slot_end, 1u);
      TRY(object.resize("counters", core.counter_stride * core.counter_lanes));
    }
    TRY(object.constant("core_const", bytes_of(core)));
    for (const auto& [symbol, value] : hook.constants) {
      const auto other = options.constants.find(symbol);
      TRY(object.constant(symbol, other == options.constants.end() ? value : other->second));
    }
    std::set<std::string> left_out;
    for (const auto& [name, entries] : image.sizes)
      if (entries == 0 && object.has_map(name)) left_out.insert(name);
    if (!options.core.replay && object.has_map("replay_neighbors")) left_out.insert("replay_neighbors");
    for (const std::string& name : left_out) TRY(object.leave_out(name));
    for (const auto& [name, fd] : shared)
      if (object.has_map(name) && !left_out.contains(name)) TRY(object.reuse(name, fd));
    if (loaded.objects.empty()) {
      for (const TableImage& table : image.tables) {
        if (shared.contains(table.map)) continue;
        if (!object.has_map(table.map)) return fail(fmt::format("the program {} has no table {}", hook.object, table.map));
        TRY(object.resize(table.map, static_cast<uint32_t>(capacity(table))));
      }
      for (const auto& [name, entries] : image.sizes)
        if (!shared.contains(name) && object.has_map(name) && entries) TRY(object.resize(name, entries));
    }
    if (auto done = object.load(); !done) {
      Error error = std::move(done).error();
      error.diagnostics.front().message = fmt::format("interface {}: {}", hook.interface, error.message());
      return Failure(std::move(error));
    }
    if (loaded.objects.empty()) {
      for (const TableImage& table : image.tables) {
        if (shared.contains(table.map)) continue;
        TRY(fill(object.map(table.map), table));
      }
      // What the first hook created all others share; scratch memory too, a packet is in one program at a time.
      for (const auto& [name, fd] : object.maps()) shared.emplace(name, fd);
    }
    loaded.objects.push_back(std::move(object));
    if (hook.behind.empty() || !options.behind) continue;
    TRY_ASSIGN(Object behind, load_behind(hook, core, options, level, loaded.objects.back()));
    loaded.behind.emplace(loaded.objects.size() - 1, std::move(behind));
  }
  return loaded;
}

}  // namespace penstock
