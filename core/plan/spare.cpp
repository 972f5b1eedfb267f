#include "core/plan/spare.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "core/plan/programs.h"

namespace penstock {

namespace fs = std::filesystem;

namespace {

std::string directory_of(const Instance& instance) { return instance.pins("spare"); }

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
}

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// A map as programs name it, of whose name the kernel keeps 15 characters.
std::string short_name(const std::string& name) { return name.substr(0, BPF_OBJ_NAME_LEN - 1); }

struct UsedMap {
  Fd map;
  bpf_map_info info{};
};
// By short name.
Result<std::map<std::string, UsedMap>> maps_used_by(int program) {
  TRY_ASSIGN(std::vector<Fd> maps, program_maps(program));
  std::map<std::string, UsedMap> out;
  for (Fd& map : maps) {
    TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
    out[info.name] = {std::move(map), info};
  }
  return out;
}

Result<Bytes> constants_of(const std::map<std::string, UsedMap>& used) {
  for (const auto& [name, map] : used) {
    if (!name.ends_with(".rodata")) continue;
    Bytes value(map.info.value_size);
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(map.map.get(), &zero, value.data()) < 0) return fail_errno("cannot read the constants of a program", errno);
    return value;
  }
  return Bytes{};
}


// Do the programs of two generations consist of the same instructions and the same constants?
Result<bool> twins(const std::string& one, const std::string& other) {
  size_t hook = 0;
  for (; exists(hook_pin(one, hook)); ++hook) {
    if (!exists(hook_pin(other, hook))) return false;
    TRY_ASSIGN(const Fd a, open_pin(hook_pin(one, hook)));
    TRY_ASSIGN(const Fd b, open_pin(hook_pin(other, hook)));
    TRY_ASSIGN(const bool same, same_program(a.get(), b.get()));
    if (!same) return false;
    TRY_ASSIGN(const auto a_maps, maps_used_by(a.get()));
    TRY_ASSIGN(const auto b_maps, maps_used_by(b.get()));
    TRY_ASSIGN(const Bytes a_constants, constants_of(a_maps));
    TRY_ASSIGN(const Bytes b_constants, constants_of(b_maps));
    if (a_constants != b_constants) return false;
  }
  return hook > 0 && !exists(hook_pin(other, hook));
}

// Bytes of the maps in `directory` that `other` does not have, too.
Result<size_t> own_bytes(const std::string& directory, const std::string& other) {
  size_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (is_program_pin(name)) continue;
    TRY_ASSIGN(const Fd map, open_pin(it->path()));
    TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
    uint32_t others = 0;
    if (auto twin = open_pin(other + "/" + name)) {
      TRY_ASSIGN(const bpf_map_info there, map_info(twin->get()));
      others = there.id;
    }
    if (others != info.id) bytes += size_t{info.value_size} * info.max_entries;
  }
  return bytes;
}

// The programs that judge for risks, with the maps by which they are asked.
Loaded judges_of(const std::string& directory, size_t hooks) {
  Loaded out;
  for (size_t i = 0; i < hooks; ++i) {
    auto program = open_pin(judge_pin(directory, i));
    if (!program) return {};
    if (i == 0) {
      auto used = maps_used_by(program->get());
      if (!used) return {};
      for (const char* name : {"trace", "replay"}) {
        const auto found = used->find(name);
        if (found == used->end()) return {};
        out.tables[name] = std::move(found->second.map);
      }
    }
    out.standing.push_back(std::move(*program));
  }
  return out;
}

}  // namespace

std::future<Result<>> begin_grace_period(const Instance& instance) {
  if (!exists(directory_of(instance))) return {};
  return std::async(std::launch::async, []() -> Result<> {
    if (syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0) return fail_errno("cannot wait for packets under way", errno);
    return {};
  });
}

Result<std::optional<Spare>> take_spare(const Instance& instance, const SpareRequest& request, std::map<std::string, Fd>& state,
                                        std::future<Result<>>& grace) {
  const std::string spare = directory_of(instance), running = instance.generation(request.runs.generation);
  if (!grace.valid() || !exists(spare) || request.runs.code.empty() || request.runs.code != request.code) return std::nullopt;
  const auto changed = [&](const std::string& key) {
    const auto before = request.runs.digests.find(key);
    const auto now = request.digests.find(key);
    return before == request.runs.digests.end() || now == request.digests.end() || before->second != now->second;
  };
  for (const auto& [key, digest] : request.digests)
    if (key.starts_with("hook ") && changed(key)) return std::nullopt;
  // Two links are not exchanged at one instant, and what is behind a hook is not kept.
  if (std::ranges::any_of(request.image.hooks, [](const HookImage& hook) { return !hook.behind.empty(); })) return std::nullopt;
  TRY_ASSIGN(const bool same, twins(spare, running));
  if (!same || exists(hook_pin(spare, request.image.hooks.size()))) return std::nullopt;

  Spare out;
  std::map<std::string, const TableImage*> tables;  // by short name
  for (const TableImage& table : request.image.tables) tables[short_name(table.map)] = &table;
  std::map<std::string, uint32_t> shared;           // ids, likewise
  for (const auto& [name, map] : state) {
    TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
    shared[short_name(name)] = info.id;
  }
  for (size_t i = 0; i < request.image.hooks.size(); ++i) {
    auto program = open_pin(hook_pin(spare, i));
    if (!program) return std::nullopt;
    TRY_ASSIGN(const auto used, maps_used_by(program->get()));
    for (const auto& [name, map] : used) {
      if (name.ends_with(".rodata") || is_scratch(name) || tables.contains(name)) continue;
      const auto want = shared.find(name);
      if (want == shared.end() || want->second != map.info.id) return std::nullopt;
    }
    out.programs.standing.push_back(std::move(*program));
  }
  std::vector<const TableImage*> to_fill;
  for (const TableImage& table : request.image.tables) {
    auto map = open_pin(spare + "/" + table.map), other = open_pin(running + "/" + table.map);
    if (!map || !other) return std::nullopt;
    TRY_ASSIGN(const bpf_map_info mine, map_info(map->get()));
    TRY_ASSIGN(const bpf_map_info theirs, map_info(other->get()));
    if (mine.id == theirs.id) {
      if (table.state || changed("table " + table.map)) return std::nullopt;
    } else {
      const size_t room = size_t{mine.value_size} * mine.max_entries;
      if (mine.value_size != table.value_size || table.data.size() > room || (table.state && std::max<size_t>(table.data.size(), table.value_size) != room)) return std::nullopt;
      to_fill.push_back(&table);
    }
    out.programs.tables[table.map] = std::move(*map);
  }
  // Packets that the spare judged when it ran are done with its tables.
  if (!grace.get()) return std::nullopt;
  for (const TableImage* table : to_fill) TRY(fill(out.programs.tables.at(table->map).get(), *table));
  out.judges = judges_of(spare, request.image.hooks.size());
  out.programs.tables.merge(state);
  return out;
}

Result<> promote_spare(const Instance& instance, uint64_t generation) {
  const std::string target = instance.generation(generation);
  if (std::rename(directory_of(instance).c_str(), target.c_str()) < 0) return fail_errno(fmt::format("cannot make {}", target), errno);
  return {};
}

void retire(const Instance& instance, uint64_t generation, uint64_t runs) {
  if (generation == 0 || generation == runs) return;
  const std::string directory = instance.generation(generation), running = instance.generation(runs), spare = directory_of(instance);
  if (!exists(directory)) return;
  remove_tree(spare);
  const auto same = runs == 0 ? Result<bool>(false) : twins(directory, running);
  if (same && *same)
    if (const auto bytes = own_bytes(directory, running); bytes && *bytes <= spare_bytes_max && std::rename(directory.c_str(), spare.c_str()) == 0) return;
  remove_tree(directory);
}

}  // namespace penstock
