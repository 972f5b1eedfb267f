// penstock version
#include <fmt/format.h>
#include <sys/utsname.h>

#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "version.h"

namespace penstock {

static int run(const Invocation& in) {
  utsname system{};
  uname(&system);
  in.out.print(fmt::format("penstock {} (kernel {}, {})\n", PENSTOCK_VERSION, system.release, system.machine));
  in.out.json({{"version", PENSTOCK_VERSION}, {"kernel", system.release}, {"machine", system.machine}});
  return 0;
}

const Command command_version = {
    .name = "version",
    .summary = "print the version of penstock and of the kernel",
    .description = "Prints the version of penstock and of the kernel it runs on.",
    .examples = {{"penstock version --json", "for scripts"}},
    .run = run,
};

}  // namespace penstock
