#include "core/kernel/sysctl.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/fd.h"

namespace penstock {

Result<std::string> read_sysctl(const std::string& name) {
  const std::string path = "/proc/sys/" + name;
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t n = file ? read(file.get(), text, sizeof text) : -1;
  if (n < 0) return fail_errno(fmt::format("cannot read {}", path), errno);
  std::string value(text, static_cast<size_t>(n));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

Result<> write_sysctl(const std::string& name, const std::string& value) {
  const std::string path = "/proc/sys/" + name;
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string line = value + "\n";  // nothing at all would be no write
  if (!file || write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return fail_errno(fmt::format("cannot write {} to {}", value, path), errno);
  return {};
}

}  // namespace penstock
