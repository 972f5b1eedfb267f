// penstock agent
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "app/cli/command.h"

namespace penstock {
namespace {

// Beside this program as in a build, or where packages put it.  A program of its own, so that no other command loads libcurl.
int run(const Invocation& in) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string tried;
  for (const auto& path : {self.parent_path() / "penstock-agent", self.parent_path().parent_path() / "libexec/penstock/penstock-agent"}) {
    execl(path.c_str(), "penstock-agent", in.globals.instance.c_str(), static_cast<char*>(nullptr));
    if (errno != ENOENT) return in.out.fail(fail_errno(fmt::format("cannot run {}", path.string()), errno).error());
    tried += (tried.empty() ? "" : " or ") + path.string();
  }
  return in.out.fail(fail(fmt::format("there is no {}", tried), "the package of penstock brings it").error());
}

}  // namespace

const Command command_agent = {
    .name = "agent",
    .summary = "check the backends of services",
    .description =
        "Runs in the foreground until SIGTERM or SIGINT: checks the backends of all services with `health`, and tells the datapath which of them to use. It "
        "reads what runs, so it needs no file and notices every apply and rollback by itself. When it ends, or is killed, every backend stays as it is; "
        "started again, it begins with that.\n\n"
        "Each change is one line on standard error. What was found last is in /run/penstock/INSTANCE/health.json; `penstock service show` prints it. "
        "systemd runs it as penstock-agent.service.",
    .examples = {{"penstock agent"}},
    .exits = {{Exit::done, "ended by a signal"}, {Exit::failed, "failed"}, {Exit::usage, "wrong usage, or another agent runs for the instance"}},
    .run = run,
};

}  // namespace penstock
