// Ethernet addresses.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

struct Mac {
  std::array<uint8_t, 6> bytes{};
  // "02:00:5e:10:00:01", hexadecimal in either case.
  static std::optional<Mac> parse(std::string_view text);
  std::string text() const;
  auto operator<=>(const Mac&) const = default;
};

}  // namespace penstock
