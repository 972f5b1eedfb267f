#include "core/plan/programs.h"

#include <fmt/format.h>

#include <map>

#include "core/kernel/bpf.h"
#include "core/plan/revisions.h"
#include "core/plan/running.h"

namespace penstock {

std::string hook_pin(const std::string& directory, size_t hook) { return fmt::format("{}/hook-{}", directory, hook); }
std::string behind_pin(const std::string& directory, size_t hook) { return hook_pin(directory, hook) + "-behind"; }
std::string judge_pin(const std::string& directory, size_t hook) { return fmt::format("{}/judge-{}", directory, hook); }
bool is_program_pin(const std::string& name) { return name.starts_with("hook-") || name.starts_with("judge-"); }

namespace {

// Where a pin or the revision was removed by hand: what the links run, as it is.
Result<Programs> programs_of_links(const Instance& instance, Error why) {
  Programs out;
  TRY_ASSIGN(const Running running, observe(instance));
  for (const RunningLink& link : running.links) {
    if (link.info.ifindex == 0) continue;
    auto program = program_by_id(link.info.program);
    auto info = program ? program_info(program->get()) : Result<bpf_prog_info>(Failure(program.error()));
    if (!info || std::string(info->name) == "penstock_gate") {  // what it chooses from is not told by the link
      why.diagnostics.front().hint = "say `penstock off`, then apply the file again";
      return Failure(std::move(why));
    }
    out.wanted.push_back({{link.info.ifindex, link.device}, program->get(), attach_name(link.mode)});
    out.descriptors.push_back(std::move(*program));
    const auto behind = std::ranges::find(running.tc_links, link.info.ifindex, [](const TcLink& l) { return l.info.ifindex; });
    if (behind == running.tc_links.end()) continue;
    TRY_ASSIGN(Fd tc, program_by_id(behind->info.program));
    out.wanted.back().tc = tc.get();
    out.descriptors.push_back(std::move(tc));
  }
  return out;
}

}  // namespace

Result<Programs> programs_of(const Instance& instance, uint64_t generation) {
  Programs out;
  if (generation == 0) return out;
  auto revision = Revisions(instance).head(generation);
  if (!revision) return programs_of_links(instance, std::move(revision).error());
  TRY_ASSIGN(const auto attachments, attachments_of(revision->hooks, list_devices()));
  for (size_t i = 0; i < revision->hooks.size(); ++i) {
    auto program = open_pin(hook_pin(instance.generation(generation), i));
    if (!program) return programs_of_links(instance, std::move(program).error());
    out.descriptors.push_back(std::move(*program));
  }
  std::map<size_t, int> behind;
  for (size_t i = 0; i < revision->hooks.size(); ++i) {
    if (revision->hooks[i].behind.empty()) continue;
    auto program = open_pin(behind_pin(instance.generation(generation), i));
    if (!program) return programs_of_links(instance, std::move(program).error());
    behind[i] = program->get();
    out.descriptors.push_back(std::move(*program));
  }
  for (const Attachment& a : attachments) {
    const auto tc = behind.find(a.hook);
    out.wanted.push_back({a.device, out.descriptors[a.hook].get(), a.mode, tc == behind.end() ? -1 : tc->second});
  }
  return out;
}

}  // namespace penstock
