#include "features/sets/element_stream.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/config/duration.h"
#include "core/config/types.h"

namespace penstock {
namespace {

constexpr size_t block_size = 256u << 10;
constexpr size_t longest_line = 4096;   // a comment may be long
constexpr std::string_view blanks = " \t\r";

class Lines {
 public:
  explicit Lines(const std::string& name) : name_(name) {}

  // Reads whole lines; returns how many bytes were used, the rest being an unfinished line.
  size_t feed(std::string_view block, bool last) {
    size_t at = 0;
    while (at < block.size()) {
      const size_t end = std::min(block.find('\n', at), block.size());
      if (end == block.size() && !last && end - at <= longest_line) break;
      line(block.substr(at, end - at));
      at = std::min(end + 1, block.size());
    }
    return at;
  }

  Result<std::vector<StreamedElement>> finish() {
    if (!bad_) return std::move(elements_);
    if (more_ > 0) bad_->detail.push_back(fmt::format("and {} more bad {}", more_, more_ == 1 ? "line" : "lines"));
    return fail(std::move(*bad_));
  }

 private:
  void line(std::string_view text) {
    ++number_;
    auto element = read_element_line(text, {name_, number_, 1, 0});
    if (!element) {
      if (bad_)
        ++more_;
      else
        bad_ = std::move(element).error().diagnostics.front();
    } else if (*element) {
      elements_.push_back(**element);
    }
  }

  const std::string& name_;
  std::vector<StreamedElement> elements_;
  uint32_t number_ = 0;
  std::optional<Diagnostic> bad_;
  size_t more_ = 0;
};

}  // namespace

Result<std::optional<StreamedElement>> read_element_line(std::string_view text, const Location& at) {
  const auto bad = [&](size_t start, size_t width, std::string message, std::string hint) {
    const Location place{at.file, at.line, at.column + static_cast<uint32_t>(start), static_cast<uint32_t>(width)};
    return fail(Diagnostic{std::move(message), place, std::string(text.substr(0, 256)), std::move(hint)});
  };
  const std::string_view content = text.substr(0, text.find('#'));
  const size_t start = content.find_first_not_of(blanks);
  if (start == content.npos) return std::nullopt;
  const size_t end = std::min(content.find_first_of(blanks, start), content.size());
  const std::string_view word = content.substr(start, end - start);
  const ParsedPrefix parsed = parse_prefix(word);
  if (parsed.error != PrefixError::none) {
    std::string hint;
    const std::string message = prefix_problem(parsed, word.substr(0, 64), hint);
    return bad(start, word.size(), message, hint);
  }
  StreamedElement element{parsed.prefix, {}};
  const size_t second = content.find_first_not_of(blanks, end);
  if (second != content.npos) {
    const std::string_view rest = content.substr(second, content.find_last_not_of(blanks) + 1 - second);
    element.lifetime = parse_duration(rest);
    if (!element.lifetime || element.lifetime->count() == 0)
      return bad(second, rest.size(), fmt::format("`{}` is no lifetime", rest.substr(0, 64)), "write it like 90s, 10m or 1d");
  }
  return element;
}

Result<std::vector<StreamedElement>> read_element_stream(int fd, const std::string& name) {
  Lines lines(name);
  std::string buffer(block_size, '\0');
  size_t have = 0;
  for (;;) {
    const ssize_t got = read(fd, buffer.data() + have, buffer.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(fmt::format("cannot read {}", name), errno);
    have += static_cast<size_t>(got);
    const size_t used = lines.feed({buffer.data(), have}, got == 0);
    if (got == 0) return lines.finish();
    std::memmove(buffer.data(), buffer.data() + used, have - used);
    have -= used;
  }
}

Result<std::vector<StreamedElement>> parse_element_text(std::string_view text, const std::string& name) {
  Lines lines(name);
  lines.feed(text, true);
  return lines.finish();
}

}  // namespace penstock
