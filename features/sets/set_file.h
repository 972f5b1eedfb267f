// Files of prefixes: one a line, IPv4 and IPv6 mixed, `#` comments, blank lines; a million lines is normal.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

// Sorts (by address, wider first) and removes duplicates.
void normalize(std::vector<Prefix>& prefixes);

// The prefixes of a file, normalized: duplicates inside one file are merged.  Read in blocks: what stays in memory is 24
// bytes an element.  Lines end in LF or CRLF.  One bad line refuses the whole file; the error names the first bad line,
// shows it, and counts the others.  Errors: unreadable, a directory, binary (a NUL byte), bad lines.
Result<std::vector<Prefix>> read_set_file(const std::string& path);
// The same from an open descriptor that is read to its end ("standard input"); `name` is used in messages.
Result<std::vector<Prefix>> read_set_stream(int fd, const std::string& name);
// The same from memory.
Result<std::vector<Prefix>> parse_set_text(std::string_view text, const std::string& name);

}  // namespace penstock
