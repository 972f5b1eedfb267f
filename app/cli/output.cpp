#include "app/cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/base/diagnostic.h"

namespace penstock {

void Output::print(std::string_view text) const {
  if (!json_) std::fwrite(text.data(), 1, text.size(), stdout);
}

static Json with_schema(const std::string& schema, const Json& object) {
  Json out = {{"schema", schema}};
  out.update(object);
  return out;
}

// Bytes that are no UTF-8 (a file name, say) must not end the program: they are replaced.
static void write_json(const Json& object, int indent) {
  const std::string text = object.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Output::json(const Json& object) const {
  if (json_) write_json(with_schema(schema_, object), 2);
}

void Output::json_line(const Json& object) const {
  if (json_) write_json(object, -1);
}

void Output::warn(const Diagnostic& diagnostic) const {
  if (json_) return;
  std::fflush(stdout);
  std::fputs(render(diagnostic, Severity::warning, color_).c_str(), stderr);
}

int Output::fail(const Error& error) const {
  if (json_) {
    Json list = Json::array();
    for (const Diagnostic& diagnostic : error.diagnostics) list.push_back(diagnostic_json(diagnostic));
    write_json(with_schema(schema_, {{"errors", std::move(list)}, {"exit", static_cast<int>(error.exit)}}), -1);
  } else {
    std::fflush(stdout);
    std::fputs(render(error, color_).c_str(), stderr);
  }
  return static_cast<int>(error.exit);
}

std::string Output::styled(Style style, std::string_view text) const {
  if (!color_) return std::string(text);
  static constexpr const char* codes[] = {"1", "2", "32", "33", "31"};
  return fmt::format("\x1b[{}m{}\x1b[0m", codes[static_cast<int>(style)], text);
}

Progress::Progress(std::string what)
    : what_(std::move(what)), terminal_(isatty(STDERR_FILENO)), start_(std::chrono::steady_clock::now()), last_(start_) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(uint64_t done, uint64_t total) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - start_ < 1s || (shown_ && now - last_ < 100ms)) return;
  last_ = now;
  shown_ = true;
  const std::string text = total ? fmt::format("\r\x1b[K{}: {} %", what_, done * 100 / total)
                                 : fmt::format("\r\x1b[K{}: {}", what_, done);
  std::fputs(text.c_str(), stderr);
}

}  // namespace penstock
