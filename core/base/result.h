// Results that must be checked, and errors that point at a place in the user's file.
#pragma once
#include <concepts>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock {

// Documented in penstock(1); never renumbered.
enum class Exit : int { done = 0, failed = 1, usage = 2, reverted = 3, risk = 4, degraded = 5 };

// The name of a file, kept once for all places in it, to the end of the process: a tree has a place for every node.
class FileName {
 public:
  FileName() = default;
  template <std::convertible_to<std::string_view> Text>
  FileName(const Text& text) : text_(keep(text)) {}

  const std::string& text() const { return *text_; }
  bool empty() const { return text_->empty(); }
  bool operator==(const FileName&) const = default;
  bool operator==(const std::convertible_to<std::string_view> auto& other) const { return *text_ == other; }

 private:
  static const std::string none;
  static const std::string* keep(std::string_view text);
  const std::string* text_ = &none;
};

// A place in a file.  line and column count from 1; line 0 means "the file as a whole", an empty file "nowhere".
// Columns count UTF-8 code points.  width is the number of columns the caret underlines, at least 1.
struct Location {
  FileName file;
  uint32_t line = 0;
  uint32_t column = 0;
  uint32_t width = 1;
  bool known() const { return !file.empty(); }
  std::string text() const;  // "node.yaml:12:9", "node.yaml:12", "node.yaml" or ""
  bool operator==(const Location&) const = default;
};

// One thing to tell the user.
struct Diagnostic {
  std::string message;      // one sentence, lower case, no full stop
  Location at{};
  std::string source_line{};  // the text of at.line, filled where it is known
  std::string hint{};         // one hint: what to do, "did you mean ..."
  std::vector<std::string> detail{};  // lines shown indented: the kernel's own words, the verifier's last lines
};

// What went wrong: at least one diagnostic, and the exit code that a command ends with.
struct Error {
  std::vector<Diagnostic> diagnostics;
  Exit exit = Exit::failed;

  Error() = default;
  Error(Diagnostic d, Exit e = Exit::failed) : diagnostics{std::move(d)}, exit(e) {}
  Error(std::string message, Exit e = Exit::failed) : diagnostics{Diagnostic{std::move(message)}}, exit(e) {}
  const std::string& message() const { return diagnostics.front().message; }
};

template <class T = void>
using Result = std::expected<T, Error>;

using Failure = std::unexpected<Error>;
// `return fail("cannot open {}", path)` is spelled with fmt at the call: fail(fmt::format(...)).
inline Failure fail(std::string message, std::string hint = {}) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return Failure(Error(std::move(d)));
}
inline Failure fail(Diagnostic d, Exit e = Exit::failed) { return Failure(Error(std::move(d), e)); }
// fail_errno("cannot pin the map", ENOSPC): the message with strerror's words behind it.
Failure fail_errno(std::string what, int error, std::string hint = {});

}  // namespace penstock

// TRY(expr): the value of a Result, or return its error from this function.
#define PS_CONCAT_(a, b) a##b
#define PS_CONCAT(a, b) PS_CONCAT_(a, b)
#define TRY_ASSIGN(target, expr) TRY_ASSIGN_(PS_CONCAT(result_, __LINE__), target, expr)
#define TRY_ASSIGN_(tmp, target, expr) \
  auto tmp = (expr);                   \
  if (!tmp) return ::penstock::Failure(std::move(tmp).error()); \
  target = std::move(*tmp)
#define TRY(expr)                                                                  \
  do {                                                                             \
    if (auto result_ = (expr); !result_) return ::penstock::Failure(std::move(result_).error()); \
  } while (0)
