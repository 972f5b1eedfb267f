#include "core/base/result.h"

#include <fmt/format.h>

#include <cstring>

namespace penstock {

std::string Location::text() const {
  if (file.empty()) return {};
  if (line == 0) return file;
  if (column == 0) return fmt::format("{}:{}", file, line);
  return fmt::format("{}:{}:{}", file, line, column);
}

Failure fail_errno(std::string what, int error, std::string hint) {
  return fail(fmt::format("{}: {}", what, std::strerror(error)), std::move(hint));
}

}  // namespace penstock
