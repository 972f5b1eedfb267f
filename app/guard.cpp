#include "app/guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace penstock {
namespace {

// In a session of its own, with nothing open and at the root.  An error number or 0.
int spawn(const std::vector<std::string>& words, pid_t& pid) {
  std::vector<char*> arguments, environment;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  for (char** e = environ; *e; ++e)  // what tests ask of this process is not meant for the guard
    if (const std::string_view entry(*e); !entry.starts_with("PENSTOCK_KILL_AT=") && !entry.starts_with("PENSTOCK_STEPS=")) environment.push_back(*e);
  environment.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&how);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
  const int error = posix_spawnp(&pid, arguments.front(), &files, &how, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return error;
}

// A unit lives in the network namespace of process 1: of no use where this one is another.
bool systemd_serves() {
  struct stat booted {}, own {}, first {};
  return stat("/run/systemd/system", &booted) == 0 && stat("/proc/self/ns/net", &own) == 0 && stat("/proc/1/ns/net", &first) == 0 && own.st_ino == first.st_ino;
}

}  // namespace

Result<> start_guard(const Instance& instance) {
  char path[PATH_MAX] = {};
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0) return fail_errno("cannot find this program", errno);
  const std::vector<std::string> guard{path, "--instance", instance.name, "settle", "--wait"};
  pid_t pid = 0;
  if (systemd_serves()) {
    std::vector<std::string> unit{"systemd-run", "--quiet", "--collect", fmt::format("--unit=penstock-guard-{}-{}", instance.name, getpid()), "--"};
    unit.insert(unit.end(), guard.begin(), guard.end());
    int status = 0;
    if (spawn(unit, pid) == 0 && waitpid(pid, &status, 0) == pid && status == 0) return {};
  }
  if (const int error = spawn(guard, pid)) return fail_errno("cannot start the guard", error);
  return {};
}

}  // namespace penstock
