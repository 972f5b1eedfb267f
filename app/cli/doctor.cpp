// penstock doctor
#include "app/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/command.h"

namespace penstock {
namespace {

int run(const Invocation& in) {
  const std::vector<Check> checks = doctor(in.all_arguments("DEVICE"));
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
        "XDP and tc programs of others. Each line is ok, warn or fail; below it stands the remedy. Nothing is changed.",
    .arguments = {{.name = "DEVICE", .description = "devices to look at (all but loopback)", .kind = Kind::device, .optional = true, .many = true}},
    .examples = {{"penstock doctor"}, {"penstock doctor eth0 --json"}},
    .exits = {{Exit::done, "nothing fails (there may be warnings)"}, {Exit::failed, "something fails"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
