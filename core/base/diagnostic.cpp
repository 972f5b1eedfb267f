#include "core/base/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/utf8.h"

namespace penstock {
namespace {

constexpr size_t widest_line = 120;   // columns of the source line that are shown
constexpr size_t before_caret = 60;   // of these, before the caret, when the line is cut

struct Style {
  const char *bold = "", *red = "", *yellow = "", *cyan = "", *reset = "";
};
Style style_of(bool color) { return color ? Style{"\033[1m", "\033[1;31m", "\033[1;33m", "\033[36m", "\033[0m"} : Style{}; }

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t length = std::max<size_t>(1, utf8_length(text));
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

void render_source(std::string& out, const Diagnostic& d, const Style& style) {
  const std::string clean = printable(d.source_line);
  std::vector<std::string_view> line = code_points(clean);
  size_t column = d.at.column == 0 ? 0 : std::min<size_t>(d.at.column - 1, line.size());
  std::string shown, pad, left, right;
  if (line.size() > widest_line) {
    const size_t start = column > before_caret ? column - before_caret : 0;
    const size_t end = std::min(line.size(), start + widest_line);
    left = start > 0 ? "…" : "";
    right = end < line.size() ? "…" : "";
    line = {line.begin() + static_cast<long>(start), line.begin() + static_cast<long>(end)};
    column -= start;
  }
  for (size_t i = 0; i < line.size(); ++i) {
    shown += line[i];
    if (i < column) pad += line[i] == "\t" ? "\t" : " ";  // a tab stays a tab, so that the caret lands below its column
  }
  if (!left.empty()) pad.insert(0, " ");
  const std::string number = std::to_string(d.at.line);
  out += fmt::format("  {}{} |{} {}{}{}\n", style.cyan, number, style.reset, left, shown, right);
  if (d.at.column == 0) return;
  const size_t room = line.size() > column ? line.size() - column : 1;
  const size_t width = std::clamp<size_t>(d.at.width, 1, room);
  out += fmt::format("  {}{} |{} {}{}^{}{}\n", style.cyan, std::string(number.size(), ' '), style.reset, pad, style.red,
                     std::string(width - 1, '~'), style.reset);
}

// Optimal string alignment: insert, delete, replace, swap neighbours.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    else if (c == '_') c = '-';  // from_port for from-port is the commonest slip
  return out;
}

}  // namespace

std::string render(const Diagnostic& d, Severity severity, bool color) {
  const Style style = style_of(color);
  const bool is_error = severity == Severity::error;
  std::string out = fmt::format("{}{}:{} ", is_error ? style.red : style.yellow, is_error ? "error" : "warning", style.reset);
  if (d.at.known()) out += fmt::format("{}{}:{} ", style.bold, printable(d.at.text()), style.reset);
  out += printable(d.message) + "\n";
  if (d.at.line > 0 && !d.source_line.empty()) render_source(out, d, style);
  if (!d.hint.empty()) out += fmt::format("  {}hint:{} {}\n", style.cyan, style.reset, printable(d.hint));
  for (const std::string& line : d.detail) out += "    " + printable(line) + "\n";
  return out;
}

std::string render(const Error& error, bool color) {
  std::string out;
  for (const Diagnostic& d : error.diagnostics) out += render(d, Severity::error, color);
  return out;
}

nlohmann::ordered_json diagnostic_json(const Diagnostic& d) {
  nlohmann::ordered_json out;
  out["message"] = printable(d.message);
  out["file"] = nullptr;
  out["line"] = nullptr;
  out["column"] = nullptr;
  out["hint"] = nullptr;
  if (d.at.known()) out["file"] = printable(d.at.file.text());
  if (d.at.line > 0) out["line"] = d.at.line;
  if (d.at.line > 0 && d.at.column > 0) out["column"] = d.at.column;
  if (!d.hint.empty()) out["hint"] = printable(d.hint);
  out["detail"] = nlohmann::ordered_json::array();
  for (const std::string& line : d.detail) out["detail"].push_back(printable(line));
  return out;
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t longest = 64;  // of a word that is worth comparing
  if (word.empty() || word.size() > longest) return {};
  const std::string wanted = lower(word);
  const std::string* best = nullptr;
  size_t best_distance = std::max<size_t>(1, wanted.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t d = distance(wanted, lower(candidate));
    if (d < best_distance && d < candidate.size()) {
      best_distance = d;
      best = &candidate;
    }
  }
  return best ? *best : std::string{};
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string found = nearest(word, candidates);
  return found.empty() ? std::string{} : fmt::format("did you mean `{}`?", found);
}

std::string suggest(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t few = 24;
  std::string hint = did_you_mean(word, candidates);
  if (!hint.empty() || candidates.empty() || candidates.size() > few) return hint;
  return fmt::format("use one of {}", fmt::join(candidates, ", "));
}

}  // namespace penstock
