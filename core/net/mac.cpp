#include "core/net/mac.h"

#include <fmt/format.h>

#include <charconv>

namespace penstock {

std::optional<Mac> Mac::parse(std::string_view text) {
  if (text.size() != 17) return {};
  Mac out;
  for (size_t i = 0; i < 6; ++i) {
    const char* const at = text.data() + 3 * i;
    const auto [stop, code] = std::from_chars(at, at + 2, out.bytes[i], 16);
    if (code != std::errc() || stop != at + 2 || (i < 5 && *stop != ':')) return {};
  }
  return out;
}

std::string Mac::text() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]);
}

}  // namespace penstock
