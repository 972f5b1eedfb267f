#include "features/sets/set_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/config/types.h"

namespace penstock {
namespace {

constexpr size_t block_size = 256u << 10;
constexpr size_t longest_line = 4096;   // bytes; a comment may be long, an address never is

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

class LineParser {
 public:
  explicit LineParser(const std::string& name) : name_(name) {}

  // Reads whole lines of `block`; returns how many bytes of it were used, the rest being an unfinished line.
  size_t feed(std::string_view block, bool last) {
    size_t at = 0;
    while (at < block.size() && !binary_) {
      const char* newline = static_cast<const char*>(memchr(block.data() + at, '\n', block.size() - at));
      if (!newline && !last && block.size() - at <= longest_line) break;
      const size_t end = newline ? static_cast<size_t>(newline - block.data()) : block.size();
      line(block.substr(at, end - at));
      at = newline ? end + 1 : end;
    }
    return at;
  }
  void reserve(size_t count) { prefixes_.reserve(count); }
  bool binary() const { return binary_.has_value(); }

  Result<std::vector<Prefix>> finish() {
    if (binary_) return fail(Diagnostic{"is a binary file, not a list of prefixes", {name_, *binary_}, {}, "name a text file with one prefix a line"});
    if (bad_) {
      if (more_bad_ > 0) bad_->detail.push_back(fmt::format("and {} more bad {}", more_bad_, more_bad_ == 1 ? "line" : "lines"));
      return Failure(Error(std::move(*bad_)));
    }
    normalize(prefixes_);
    return std::move(prefixes_);
  }

 private:
  void line(std::string_view text) {
    ++number_;
    size_t start = 0;
    while (start < text.size() && is_blank(text[start])) ++start;
    size_t end = std::min(text.find('#', start), text.size());
    if (end == text.size() && text.size() > longest_line) return bad(text.substr(0, 64), 0, 64, {PrefixError::syntax, {}});
    while (end > start && is_blank(text[end - 1])) --end;
    if (start == end) {
      if (text.find('\0') != text.npos) binary_ = number_;
      return;
    }
    const std::string_view word = text.substr(start, end - start);
    const ParsedPrefix parsed = parse_prefix(word);
    if (parsed.error == PrefixError::none)
      prefixes_.push_back(parsed.prefix);
    else if (text.find('\0') != text.npos)
      binary_ = number_;
    else
      bad(text, start, word.size(), parsed);
  }

  void bad(std::string_view text, size_t start, size_t length, const ParsedPrefix& parsed) {
    if (bad_) {
      ++more_bad_;
      return;
    }
    // Columns count code points; a byte that is no UTF-8 counts as one.
    const auto columns = [](std::string_view bytes) {
      uint32_t count = 0;
      for (; !bytes.empty(); ++count) bytes.remove_prefix(std::max<size_t>(1, utf8_length(bytes)));
      return count;
    };
    Diagnostic& d = bad_.emplace();
    const std::string_view word = text.substr(start, length);
    d.message = prefix_problem(parsed, word.substr(0, 64), d.hint);
    d.at = {name_, number_, columns(text.substr(0, start)) + 1, std::max<uint32_t>(1, columns(word))};
    while (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    d.source_line = text;
  }

  const std::string& name_;
  std::vector<Prefix> prefixes_;
  uint32_t number_ = 0;
  std::optional<Diagnostic> bad_;
  size_t more_bad_ = 0;
  std::optional<uint32_t> binary_;
};

}  // namespace

void normalize(std::vector<Prefix>& prefixes) {
  if (!std::ranges::is_sorted(prefixes)) std::ranges::sort(prefixes);
  const auto rest = std::ranges::unique(prefixes);
  prefixes.erase(rest.begin(), rest.end());
}

Result<std::vector<Prefix>> read_set_stream(int fd, const std::string& name) {
  const auto refuse = [&](std::string message, std::string hint = {}) { return fail(Diagnostic{std::move(message), {name}, {}, std::move(hint)}); };
  struct stat info {};
  if (fstat(fd, &info) < 0) return refuse(fmt::format("cannot be read: {}", strerror(errno)));
  if (S_ISDIR(info.st_mode)) return refuse("is a directory", "name the file in it");
  LineParser parser(name);
  // Address space only, until it is touched; it saves the copies of a growing vector.
  constexpr off_t shortest_line = 8;
  if (S_ISREG(info.st_mode)) parser.reserve(static_cast<size_t>(info.st_size / shortest_line));
  std::string buffer(block_size, '\0');
  size_t have = 0;
  while (!parser.binary()) {
    const ssize_t got = read(fd, buffer.data() + have, buffer.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(fmt::format("cannot be read: {}", strerror(errno)));
    have += static_cast<size_t>(got);
    const size_t used = parser.feed({buffer.data(), have}, got == 0);
    if (got == 0) break;
    memmove(buffer.data(), buffer.data() + used, have - used);
    have -= used;
  }
  return parser.finish();
}

Result<std::vector<Prefix>> read_set_file(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Diagnostic{fmt::format("cannot be read: {}", strerror(errno)), {path}});
  return read_set_stream(fd.get(), path);
}

Result<std::vector<Prefix>> parse_set_text(std::string_view text, const std::string& name) {
  LineParser parser(name);
  parser.feed(text, true);
  return parser.finish();
}

}  // namespace penstock
