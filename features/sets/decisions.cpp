#include "features/sets/decisions.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config/types.h"

namespace penstock {
namespace {

using nlohmann::json;
constexpr std::string_view blanks = " \t\r\n";
constexpr size_t longest_quote = 256, longest_line = 4096, most_of_a_document = 256u << 20;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_go_duration(std::string_view text) {
  constexpr std::pair<std::string_view, double> units[] = {{"ms", 1}, {"us", 1e-3}, {"µs", 1e-3}, {"ns", 1e-6}, {"h", 3600e3}, {"m", 60e3}, {"s", 1e3}};
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text == "0") return std::chrono::milliseconds{0};
  double total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{} || number < 0) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    const auto* unit = std::ranges::find_if(units, [&](const auto& u) { return text.starts_with(u.first); });
    if (unit == std::end(units)) return std::nullopt;
    total += number * unit->second;
    text.remove_prefix(unit->first.size());
  }
  if (!(total <= 3650.0 * 24 * 3600e3)) return std::nullopt;
  const auto ms = static_cast<int64_t>(std::ceil(total));
  return std::chrono::milliseconds{negative ? -ms : ms};
}

void DecisionReader::refuse(std::string message, std::string_view text, std::string hint) {
  Diagnostic d{std::move(message), {name_, line_, 1, 0}, std::string(text.substr(0, std::min(text.find('\n'), longest_quote))), std::move(hint)};
  refused_.push_back(std::move(d));
}

void DecisionReader::line(std::string_view text) {
  const size_t start = text.find_first_not_of(blanks);
  const bool removed = start != text.npos && text[start] == '-';
  auto element = read_element_line(removed ? text.substr(start + 1) : text, {name_, line_, static_cast<uint32_t>(removed ? start + 2 : 1), 0});
  if (!element) {
    Diagnostic d = std::move(element).error().diagnostics.front();
    d.source_line = text.substr(0, longest_quote);
    refused_.push_back(std::move(d));
    return;
  }
  if (*element) decisions_.push_back({**element, removed});
}

void DecisionReader::read_document(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return refuse("this is no JSON", text);
  const auto one = [&](const json& d, bool removed) {
    const auto word = [&](const char* key) { return d.contains(key) && d[key].is_string() ? d[key].get<std::string>() : std::string(); };
    if (!d.is_object() || !d.contains("value")) return refuse("a decision without a `value`", d.dump(), "write {\"value\": \"192.0.2.7\", \"duration\": \"4h\"}");
    const std::string scope = lower(word("scope")), type = lower(word("type"));
    const bool simulated = d.contains("simulated") && d["simulated"] == json(true);
    if ((!scope.empty() && scope != "ip" && scope != "range") || (!type.empty() && type != "ban") || simulated) {
      ++left_out_;
      return;
    }
    const ParsedPrefix parsed = parse_prefix(word("value"));
    std::string hint;
    if (parsed.error != PrefixError::none) {
      const std::string message = prefix_problem(parsed, word("value"), hint);
      return refuse(message, d.dump(), hint);
    }
    std::optional<std::chrono::milliseconds> lifetime;
    if (const std::string duration = word("duration"); !duration.empty() && !removed) {
      lifetime = parse_go_duration(duration);
      if (!lifetime) return refuse(fmt::format("`{}` is no duration", duration), d.dump(), "write it like 90s, 10m or 4h0m0s");
      if (lifetime->count() <= 0) removed = true;  // it ended on its way here
    }
    decisions_.push_back({{parsed.prefix, removed ? std::nullopt : lifetime}, removed});
  };
  const auto all = [&](const json& list, bool removed) {
    for (const json& d : list) one(d, removed);  // null has no members
  };
  if (document.is_array()) return all(document, false);
  const bool stream = document.contains("new") || document.contains("deleted");
  if (!stream) return one(document, false);
  if (document.contains("deleted")) all(document["deleted"], true);
  if (document.contains("new")) all(document["new"], false);
}

// One past the end of the JSON value that begins at `begin` with a bracket; npos: it is not whole, and the next call
// goes on where this one ended.
size_t DecisionReader::end_of_document(std::string_view text, size_t begin) {
  size_t& i = scan_.seen;
  for (; begin + i < text.size(); ++i) {
    const char c = text[begin + i];
    if (scan_.escaped) {
      scan_.escaped = false;
    } else if (scan_.quoted) {
      scan_.escaped = c == '\\';
      scan_.quoted = c != '"';
    } else if (c == '"') {
      scan_.quoted = true;
    } else if (c == '{' || c == '[') {
      ++scan_.depth;
    } else if ((c == '}' || c == ']') && --scan_.depth == 0) {
      return begin + i + 1;
    }
  }
  return std::string_view::npos;
}

// The document at `begin`; returns where the next thing begins, or npos.
size_t DecisionReader::document(size_t begin, bool last) {
  const std::string_view text = kept_;
  const size_t end = end_of_document(text, begin);
  if (end == text.npos) {
    if (!last && text.size() - begin <= most_of_a_document) return text.npos;
    refuse(last ? "the stream ends within a JSON document" : "a JSON document of more than 256 MiB", text.substr(begin));
  } else {
    read_document(text.substr(begin, end - begin));
  }
  scan_ = {};
  return end == text.npos ? text.size() : end;
}

void DecisionReader::feed(std::string_view block, bool last) {
  kept_.append(block);
  const std::string_view text = kept_;
  size_t at = 0;
  while (at < text.size()) {
    const size_t begin = text.find_first_not_of(blanks, at);
    if (begin != text.npos && (text[begin] == '{' || text[begin] == '[')) {
      line_ += static_cast<uint32_t>(std::ranges::count(text.substr(at, begin - at), '\n'));
      const size_t next = document(begin, last);
      at = begin;
      if (next == text.npos) break;
      line_ += static_cast<uint32_t>(std::ranges::count(text.substr(begin, next - begin), '\n'));
      at = next;
      continue;
    }
    const size_t end = text.find('\n', at);
    if (end == text.npos && !last && text.size() - at <= longest_line) break;
    line(text.substr(at, end - at));
    ++line_;
    at = end == text.npos ? text.size() : end + 1;
  }
  kept_.erase(0, at);
}

}  // namespace penstock
