// What `set add -` and `set del -` read from standard input: one prefix a line, a lifetime behind it if it has its own
// ("192.0.2.0/24 10m"), `#` comments, blank lines.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct StreamedElement {
  Prefix prefix;
  std::optional<std::chrono::milliseconds> lifetime;  // more than 0
};

// One line; nullopt: it is blank or a comment.  `at`: where the text begins in its line, for the error.
Result<std::optional<StreamedElement>> read_element_line(std::string_view text, const Location& at);

// In the order read.  One bad line refuses the whole stream: the error shows the first and counts the others.  `name`
// stands for the stream in messages.
Result<std::vector<StreamedElement>> read_element_stream(int fd, const std::string& name);
Result<std::vector<StreamedElement>> parse_element_text(std::string_view text, const std::string& name);

}  // namespace penstock
