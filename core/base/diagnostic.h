// How errors and warnings are shown: as text with the source line and a caret, or as JSON.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace penstock {

enum class Severity { error, warning };

// The text of one diagnostic, ending in a newline:
//
//   error: node.yaml:12:9: unknown key `form`
//     12 |       - { form: any }
//        |           ^~~~
//     hint: did you mean `from`?
//
// Bytes that could steer a terminal, and those that are no UTF-8, are shown as U+FFFD.  Long lines are cut around the caret.
std::string render(const Diagnostic& diagnostic, Severity severity, bool color);
std::string render(const Error& error, bool color);

// {message, file, line, column, hint, detail}; unknown parts are null, detail is a list of strings.
nlohmann::ordered_json diagnostic_json(const Diagnostic& diagnostic);

// The candidate nearest to `word` (edit distance, swapped neighbours count once), "" when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);
// The hint made of it: "did you mean `from`?", or "".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);
// The same, but when nothing is near and the words are few: "use one of auto, native".
std::string suggest(std::string_view word, std::span<const std::string> candidates);

}  // namespace penstock
