#include "core/plan/instance.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace penstock {

Result<Instance> Instance::named(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!good) {
    Diagnostic d{fmt::format("`{}` is no name for an instance", name)};
    d.hint = "use up to 32 of a-z, 0-9 and -";
    return fail(std::move(d), Exit::usage);
  }
  return Instance{name, "/sys/fs/bpf/penstock/" + name, "/run/penstock/" + name, "/var/lib/penstock/" + name};
}

Result<> make_directories(const std::string& path, unsigned mode) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    const std::string part = path.substr(0, at);
    if (mkdir(part.c_str(), mode) < 0 && errno != EEXIST) {
      const int error = errno;
      struct stat there {};
      if (stat(part.c_str(), &there) == 0 && S_ISDIR(there.st_mode)) continue;
      return fail_errno(fmt::format("cannot make the directory {}", part), error, error == EACCES || error == EPERM ? "penstock needs root" : "");
    }
  }
  return {};
}

namespace {
std::string read_holder(int fd) {
  char text[256] = {};
  const ssize_t size = pread(fd, text, sizeof text - 1, 0);
  std::string holder(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "another penstock" : holder;
}

bool is_at(int fd, const std::string& path) {
  struct stat ours {}, there {};
  return fstat(fd, &ours) == 0 && stat(path.c_str(), &there) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

std::string own_command() {
  const Fd file(open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  char text[200] = {};
  const ssize_t size = file ? read(file.get(), text, sizeof text - 1) : 0;
  std::string command(text, size > 0 ? static_cast<size_t>(size) : 0);
  std::replace(command.begin(), command.end(), '\0', ' ');
  while (!command.empty() && command.back() == ' ') command.pop_back();
  return fmt::format("process {} ({})", getpid(), command);
}
}  // namespace

Result<Lock> Lock::take(const Instance& instance, std::chrono::milliseconds patience, const std::function<void(const std::string&)>& waiting) {
  TRY(make_directories(instance.run, 0755));
  const std::string path = instance.run + "/lock";
  Lock lock;
  const auto until = std::chrono::steady_clock::now() + patience;
  bool told = false;
  for (;;) {
    if (!lock.file_) lock.file_ = Fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock.file_) return fail_errno(fmt::format("cannot open {}", path), errno);
    if (flock(lock.file_.get(), LOCK_EX | LOCK_NB) == 0) {
      if (is_at(lock.file_.get(), path)) break;
      lock.file_ = Fd();  // somebody removed the file meanwhile: a lock on it keeps nobody out
      continue;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno(fmt::format("cannot lock {}", path), errno);
    const std::string holder = read_holder(lock.file_.get());
    if (std::chrono::steady_clock::now() >= until)
      return fail(fmt::format("instance {} is being changed by {}", instance.name, holder), "try again when it has ended");
    if (!told && waiting) waiting(holder);
    told = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const std::string me = own_command();
  if (ftruncate(lock.file_.get(), 0) == 0) [[maybe_unused]] const ssize_t written = pwrite(lock.file_.get(), me.data(), me.size(), 0);
  return lock;
}

void step(const std::string& name) {
  if (const char* log = std::getenv("PENSTOCK_STEPS")) {
    const Fd file(open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
    const std::string line = name + "\n";
    [[maybe_unused]] const ssize_t written = write(file.get(), line.data(), line.size());
  }
  const char* kill_at = std::getenv("PENSTOCK_KILL_AT");
  if (!kill_at) return;
  static unsigned seen = 0;
  const char* colon = std::strrchr(kill_at, ':');
  const std::string wanted = colon ? std::string(kill_at, colon) : kill_at;
  if (name == wanted && ++seen >= (colon ? static_cast<unsigned>(std::atoi(colon + 1)) : 1u)) kill(getpid(), SIGKILL);
}

}  // namespace penstock
