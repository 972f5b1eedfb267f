#include "core/base/result.h"

#include <fmt/format.h>

#include <cstring>
#include <mutex>
#include <set>

namespace penstock {

const std::string FileName::none;

const std::string* FileName::keep(std::string_view text) {
  thread_local const std::string* last = &none;  // most places are of the file that the one before was of
  if (*last == text) return last;
  static std::mutex turn;
  static auto& names = *new std::set<std::string, std::less<>>;  // others may hold a name while the process ends
  const std::lock_guard hold(turn);
  const auto at = names.find(text);
  return last = text.empty() ? &none : &*(at == names.end() ? names.emplace(text).first : at);
}

std::string Location::text() const {
  if (file.empty()) return {};
  if (line == 0) return file.text();
  if (column == 0) return fmt::format("{}:{}", file.text(), line);
  return fmt::format("{}:{}:{}", file.text(), line, column);
}

Failure fail_errno(std::string what, int error, std::string hint) {
  return fail(fmt::format("{}: {}", what, std::strerror(error)), std::move(hint));
}

}  // namespace penstock
