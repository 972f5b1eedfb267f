#include "core/plan/running_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "core/kernel/objects.h"
#include "core/plan/loader.h"
#include "core/plan/programs.h"

namespace penstock {

namespace fs = std::filesystem;

namespace {

Result<> open_maps(const std::string& directory, std::map<std::string, Fd>& maps) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (is_program_pin(name) || maps.contains(name) || is_scratch(name)) continue;
    TRY_ASSIGN(maps[name], open_pin(it->path()));
  }
  return {};
}

// The maps that the program's code names, by their names as the kernel keeps them, cut to 15 characters: their entries.
Result<std::map<std::string, uint32_t>> map_sizes_of(int program) {
  TRY_ASSIGN(const std::vector<Fd> maps, program_maps(program));
  std::map<std::string, uint32_t> out;
  for (const Fd& map : maps) {
    TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
    out[info.name] = info.max_entries;
  }
  return out;
}

}  // namespace

Result<RunningImage> running_image(const Instance& instance, const Running& running) {
  const uint64_t generation = running.active(coarse_now());
  if (generation == 0) return fail(fmt::format("nothing runs in instance {}", instance.name), "apply a file first, or name one with --file");
  RunningImage out;
  const Revisions revisions(instance);
  uint64_t newest = 0;
  for (const Revision& r : revisions.heads())
    if (r.generation == generation && r.status != RevisionStatus::reverted) newest = r.number;
  if (newest == 0) return fail(fmt::format("generation {} runs, but its revision is missing from {}", generation, instance.state), "apply again, or name a file with --file");
  TRY_ASSIGN(out.revision, revisions.read(newest));
  out.image.hooks = out.revision.hooks;
  out.image.slots = out.revision.slots;
  out.image.backends = out.revision.backends;
  for (const Slot& slot : out.image.slots) out.image.slot_end = std::max(out.image.slot_end, slot.number + 1);
  TRY_ASSIGN(const Level level, kernel_level());
  for (size_t i = 0; i < out.image.hooks.size(); ++i) {
    HookImage& hook = out.image.hooks[i];
    TRY_ASSIGN(const Object object, Object::open(hook.object, level));
    TRY_ASSIGN(Fd program, open_pin(hook_pin(instance.generation(generation), i)));
    TRY_ASSIGN(hook.constants, object.constants_of(program.get()));
    // Maps that were left out when it was loaded are so again, or the code would not be the same.
    TRY_ASSIGN(const auto used, map_sizes_of(program.get()));
    for (const std::string& name : object.map_names()) {
      const auto size = used.find(name.substr(0, BPF_OBJ_NAME_LEN - 1));
      if (size == used.end())
        out.image.sizes[name] = 0;
      else if (is_scratch(name))  // which is not shared with what runs
        out.image.sizes[name] = size->second;
    }
    out.programs.push_back(std::move(program));
    if (!hook.behind.empty()) {
      TRY_ASSIGN(out.behind[i], open_pin(behind_pin(instance.generation(generation), i)));
    }
    const Bytes core = hook.constants["core_const"];
    if (core.size() == sizeof out.core) std::memcpy(&out.core, core.data(), sizeof out.core);
    out.core.no_ethernet = 0;             // each hook says it for itself
    hook.constants.erase("core_const");   // the loader's
    hook.constants.erase("clock_const");
  }
  TRY(open_maps(instance.generation(generation), out.maps));
  TRY(open_maps(instance.pins("shared"), out.maps));
  return out;
}

}  // namespace penstock
