// penstock doctor
#include "app/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/backend.h"
#include "app/cli/command.h"
#include "app/prepare.h"
#include "core/plan/running.h"

namespace penstock {
namespace {

// The file that was asked for, or the one that runs; nothing where nothing runs.
Result<std::optional<Config>> file_of(const Invocation& in) {
  if (const auto file = in.option("--file")) {
    TRY_ASSIGN(Config config, load_config(*file));
    return std::optional(std::move(config));
  }
  TRY_ASSIGN(const Instance instance, Instance::named(in.globals.instance));
  TRY_ASSIGN(const Running running, observe(instance));
  if (running.state.generation == 0) return std::optional<Config>();
  std::optional<Revision> newest;
  for (Revision& r : Revisions(instance).heads())
    if (r.generation == running.state.generation && r.status == RevisionStatus::confirmed && (!newest || r.number > newest->number)) newest = std::move(r);
  if (!newest) return std::optional<Config>();
  TRY_ASSIGN(Config config, config_of(instance, *newest));
  return std::optional(std::move(config));
}

// What the file needs of the host beyond what programs do.
Result<std::vector<Check>> check_file(const Invocation& in) {
  TRY_ASSIGN(const std::optional<Config> config, file_of(in));
  if (!config || !config->receive) return std::vector<Check>{};
  TRY_ASSIGN(const BackendFacts facts, backend_facts());
  return check_backend(*config, facts);
}

int run(const Invocation& in) {
  std::vector<Check> checks = doctor(in.all_arguments("DEVICE"));
  auto more = check_file(in);
  if (more)
    checks.insert(checks.end(), more->begin(), more->end());
  else if (in.option("--file"))
    return in.out.fail(more.error());
  else
    checks.push_back({Health::warn, "file", more.error().message(), "name it with --file"});
  Json list = Json::array();
  size_t column = 0;
  for (const Check& c : checks) column = std::max(column, c.name.size());
  Health worst = Health::ok;
  for (const Check& c : checks) {
    worst = std::max(worst, c.health);
    list.push_back({{"health", health_name(c.health)}, {"check", c.name}, {"finding", c.finding}, {"remedy", c.remedy.empty() ? Json(nullptr) : Json(c.remedy)}});
    const Style style = c.health == Health::ok ? Style::good : c.health == Health::warn ? Style::warning : Style::bad;
    in.out.print(fmt::format("{}  {:<{}}  {}\n", in.out.styled(style, fmt::format("{:<4}", health_name(c.health))), c.name, column, c.finding));
    if (!c.remedy.empty()) in.out.print(fmt::format("      {:<{}}  -> {}\n", "", column, c.remedy));
  }
  in.out.json({{"health", health_name(worst)}, {"checks", std::move(list)}});
  return static_cast<int>(worst == Health::fail ? Exit::failed : Exit::done);
}

}  // namespace

const Command command_doctor = {
    .name = "doctor",
    .summary = "say what this machine can do and what is in the way",
    .description =
        "Checks the kernel, its BTF, bpffs, capabilities and JIT, and for each device (or only DEVICE) the driver, limits, offloads that act before XDP, and "
        "XDP and tc programs of others. Where the file that runs says `receive`, it looks whether its frontends are this host's own, and at ARP and the reverse path filter. Each line is ok, warn or fail; below it stands the remedy. Nothing is changed.",
    .arguments = {{.name = "DEVICE", .description = "devices to look at (all but loopback)", .kind = Kind::device, .optional = true, .many = true}},
    .options = {{.name = "--file", .metavar = "FILE", .description = "look at what FILE needs, in the place of the file that runs", .kind = Kind::path}},
    .examples = {{"penstock doctor"}, {"penstock doctor eth0 --json"}},
    .exits = {{Exit::done, "nothing fails (there may be warnings)"}, {Exit::failed, "something fails"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
