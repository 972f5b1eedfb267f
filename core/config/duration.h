// Durations as people write them: "10m", "1h30m", "500ms".
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

// Numbers with the units d, h, m, s, ms, each at most once and larger ones first.  At most 3650 days; nullopt otherwise,
// also for "" and for a number without unit.  "0s" is a duration.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
std::string duration_text(std::chrono::milliseconds duration);  // the same form: "1h30m", "0s"

}  // namespace penstock
