#include "features/sets/elements_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <string_view>

#include "core/base/fd.h"

namespace penstock::sets {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view mark = "penstock-elements 1 ";
constexpr size_t block_size = 256u << 10;
constexpr size_t longest_line = 128;

Failure damaged(const std::string& path, uint32_t line) {
  Diagnostic d{"is damaged", {path, line, 0}};
  d.hint = "mend the line, or delete the file to forget the run-time elements of this set";
  return fail(std::move(d));
}

template <class T>
bool number_of(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

bool parse_header(std::string_view line, ElementsHeader& out) {
  if (!line.starts_with(mark)) return false;
  line.remove_prefix(mark.size());
  const size_t space = line.find(' ');
  return space != line.npos && number_of(line.substr(0, space), out.number) && number_of(line.substr(space + 1), out.version) &&
         out.number < SET_NUMBERS;
}

bool parse_element(std::string_view line, RunTimeElement& out) {
  const size_t space = line.find(' ');
  if (space == line.npos) return false;
  const ParsedPrefix parsed = parse_prefix(line.substr(0, space));
  if (parsed.error != PrefixError::none) return false;
  out.prefix = parsed.prefix;
  out.end = 0;
  const std::string_view end = line.substr(space + 1);
  return end == "never" || (number_of(end, out.end) && out.end > 0);
}

// Calls `take(line, number)` for each whole line until it says false; the number of the line that was refused, else 0.
template <class F>
Result<uint32_t> each_line(const std::string& path, F take) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(fmt::format("cannot read {}", path), errno);
  std::string buffer(block_size, '\0');
  size_t have = 0;
  uint32_t number = 0;
  for (;;) {
    const ssize_t got = read(file.get(), buffer.data() + have, buffer.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(fmt::format("cannot read {}", path), errno);
    if (got == 0) return have == 0 ? 0 : number + 1;  // the last line has no end: cut off
    have += static_cast<size_t>(got);
    size_t at = 0;
    for (;;) {
      const size_t end = std::string_view(buffer.data(), have).find('\n', at);
      if (end == std::string_view::npos) break;
      if (!take(std::string_view(buffer.data() + at, end - at), ++number)) return number;
      at = end + 1;
    }
    if (have - at > longest_line) return number + 1;
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(at), buffer.begin() + static_cast<std::ptrdiff_t>(have), buffer.begin());
    have -= at;
  }
}

}  // namespace

std::string elements_path(const Instance& instance, const std::string& set) { return instance.state + "/elements/" + set; }

std::vector<std::string> sets_with_elements(const Instance& instance) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(instance.state + "/elements", error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename();
    if (!name.ends_with("~")) out.push_back(std::move(name));  // `~` is no letter of a set's name: written aside
  }
  std::ranges::sort(out);
  return out;
}

Result<ElementsHeader> read_elements_header(const std::string& path) {
  ElementsHeader header;
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return header;
  if (!file) return fail_errno(fmt::format("cannot read {}", path), errno);
  char text[longest_line];
  const ssize_t got = read(file.get(), text, sizeof text);
  const std::string_view start(text, got > 0 ? static_cast<size_t>(got) : 0);
  if (!parse_header(start.substr(0, start.find('\n')), header)) return damaged(path, 1);
  return header;
}

Result<ElementsFile> read_elements(const std::string& path) {
  ElementsFile file;
  std::error_code error;
  if (!fs::exists(path, error)) return file;
  bool header = false;
  TRY_ASSIGN(const uint32_t bad, each_line(path, [&](std::string_view line, uint32_t number) {
    if (number == 1) return header = parse_header(line, file);
    RunTimeElement element;
    if (!parse_element(line, element)) return false;
    file.elements.push_back(element);
    return true;
  }));
  if (bad != 0 || !header) return damaged(path, std::max(bad, 1u));
  const auto by_prefix = [](const RunTimeElement& a, const RunTimeElement& b) { return a.prefix < b.prefix; };
  if (!std::ranges::is_sorted(file.elements, by_prefix)) std::ranges::sort(file.elements, by_prefix);
  const auto rest = std::ranges::unique(file.elements, {}, &RunTimeElement::prefix);
  file.elements.erase(rest.begin(), rest.end());
  return file;
}

Result<> write_elements_aside(const std::string& path, const ElementsFile& file) {
  TRY(make_directories(fs::path(path).parent_path()));
  const std::string aside = path + "~";
  const Fd out(open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const auto failed = [&] { return fail_errno(fmt::format("cannot write {}", aside), errno, errno == ENOSPC ? "the disk is full" : ""); };
  if (!out) return failed();
  std::string text = fmt::format("{}{} {}\n", mark, file.number, file.version);
  const auto flush = [&] {
    for (size_t done = 0; done < text.size();) {
      const ssize_t n = write(out.get(), text.data() + done, text.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      done += static_cast<size_t>(n);
    }
    text.clear();
    return true;
  };
  for (const RunTimeElement& e : file.elements) {
    text += e.prefix.text();
    text += ' ';
    if (e.end == 0) {
      text += "never\n";
    } else {
      char digits[24];
      text.append(digits, std::to_chars(digits, digits + sizeof digits, e.end).ptr);
      text += '\n';
    }
    if (text.size() > block_size && !flush()) return failed();
  }
  if (!flush() || fsync(out.get()) < 0) return failed();
  return {};
}

Result<> put_elements(const std::string& path) {
  if (rename((path + "~").c_str(), path.c_str()) < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
  const Fd directory(open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

int64_t wall_now() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Element to_element(const Prefix& prefix) {
  if (prefix.is_v4()) return Element::ipv4(prefix.address.v4(), prefix.family_length());
  return {prefix.address.hi, prefix.address.lo, 1, prefix.length, true};
}

Prefix to_prefix(const Element& element) {
  if (!element.ipv6) return {Address::v4(static_cast<uint32_t>(element.hi >> 32)), static_cast<uint8_t>(element.length + 96)};
  return {{element.hi, element.lo}, element.length};
}

}  // namespace penstock::sets
