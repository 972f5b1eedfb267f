#include "core/config/duration.h"

#include <cstdint>

namespace penstock {
namespace {

struct Unit {
  std::string_view name;
  int64_t milliseconds;
};
constexpr Unit units[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr int64_t most = 3650 * units[0].milliseconds;

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t total = 0;
  int64_t smallest = most + 1;  // each unit must be smaller than the one before
  while (!text.empty()) {
    size_t digits = 0;
    int64_t number = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
      number = number * 10 + (text[digits] - '0');
      if (number > most) return std::nullopt;
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
    const std::string_view name = text.substr(0, text.find_first_of("0123456789"));
    const Unit* unit = nullptr;
    for (const Unit& u : units)
      if (u.name == name) unit = &u;
    if (!unit || unit->milliseconds >= smallest || number > most / unit->milliseconds) return std::nullopt;
    smallest = unit->milliseconds;
    total += number * unit->milliseconds;
    if (total > most) return std::nullopt;
    text.remove_prefix(name.size());
  }
  return std::chrono::milliseconds(total);
}

std::string duration_text(std::chrono::milliseconds duration) {
  std::string out;
  int64_t left = duration.count();
  for (const Unit& u : units) {
    if (left >= u.milliseconds) out += std::to_string(left / u.milliseconds) + std::string(u.name);
    left %= u.milliseconds;
  }
  return out.empty() ? "0s" : out;
}

}  // namespace penstock
