// Just enough of UTF-8 to count columns and to show foreign bytes safely.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace penstock {

// Bytes of the well-formed code point at the start of `text`; 0 when there is none (RFC 3629: no surrogates, no overlong).
size_t utf8_length(std::string_view text);
// Index of the first byte that is not part of well-formed UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);
// `text` with control characters (except tab and newline) and invalid bytes replaced by U+FFFD.
std::string printable(std::string_view text);

}  // namespace penstock
