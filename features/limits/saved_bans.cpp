#include "features/limits/saved_bans.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <string_view>

#include "core/base/fd.h"
#include "features/limits/bans.h"

namespace penstock {
namespace {

constexpr std::string_view mark = "penstock-bans 1";
constexpr int64_t ticks_per_ms = PS_TICKS(1'000'000ll);

// Both clocks, read together.
struct Clocks {
  int64_t wall = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  uint64_t ticks = ticks_now();
  int64_t end_of(uint64_t until) const { return wall + (static_cast<int64_t>(until) - static_cast<int64_t>(ticks)) / ticks_per_ms; }
  // At the least a moment after the kernel's start: what ended before is remembered as if it had ended then.
  uint64_t until(int64_t end) const {
    const auto left = static_cast<__int128>(end - wall) * ticks_per_ms + ticks;
    return static_cast<uint64_t>(std::clamp<__int128>(left, PS_BAN_COUNT + 1, INT64_MAX));
  }
};

template <class T>
bool number_of(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

// Up to the next space, which is taken off `line`, too.
std::string_view word_of(std::string_view& line) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(std::min(space + 1, line.size()));
  return word;
}

bool parse_ban(std::string_view line, SavedBan& out) {
  out.rule = word_of(line);
  const ParsedPrefix parsed = parse_prefix(word_of(line));
  out.prefix = parsed.prefix;
  return parsed.error == PrefixError::none && !out.rule.empty() && number_of(word_of(line), out.end) && number_of(line, out.times);
}

Failure damaged(const std::string& path, uint32_t line) {
  Diagnostic d{"is damaged", {path, line, 0}};
  d.hint = "mend the line, or delete the file to forget the bans";
  return fail(std::move(d));
}

Result<std::string> content(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::string();
  struct stat about {};
  if (!file || fstat(file.get(), &about) < 0) return fail_errno(fmt::format("cannot read {}", path), errno);
  std::string text(static_cast<size_t>(about.st_size), '\0');
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = read(file.get(), text.data() + done, text.size() - done);
    if (n <= 0) return fail_errno(fmt::format("cannot read {}", path), n < 0 ? errno : EIO);
    done += static_cast<size_t>(n);
  }
  return text;
}

}  // namespace

std::string bans_path(const Instance& instance) { return instance.state + "/bans"; }

Result<std::vector<SavedBan>> read_bans(const std::string& path) {
  TRY_ASSIGN(const std::string text, content(path));
  std::vector<SavedBan> out;
  std::string_view rest = text;
  for (uint32_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    if (end == rest.npos) return damaged(path, number);  // cut off
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (number == 1) {
      if (line != mark) return damaged(path, number);
      continue;
    }
    if (SavedBan ban; parse_ban(line, ban)) out.push_back(std::move(ban));
    else return damaged(path, number);
  }
  return out;
}

Result<> write_bans(const std::string& path, const std::vector<SavedBan>& bans) {
  if (bans.empty()) {
    if (unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno(fmt::format("cannot remove {}", path), errno);
    return {};
  }
  const std::string directory = std::filesystem::path(path).parent_path(), aside = path + ".new";
  TRY(make_directories(directory));
  std::string text = fmt::format("{}\n", mark);
  for (const SavedBan& ban : bans) fmt::format_to(std::back_inserter(text), "{} {} {} {}\n", ban.rule, ban.prefix.text(), ban.end, ban.times);
  const auto failed = [&](int error) {
    unlink(aside.c_str());
    return fail_errno(fmt::format("cannot write {}", path), error, error == ENOSPC ? "the disk is full" : "");
  };
  {
    const Fd file(open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return failed(errno);
    for (size_t done = 0; done < text.size();) {
      const ssize_t n = write(file.get(), text.data() + done, text.size() - done);
      if (n < 0) return failed(errno);
      done += static_cast<size_t>(n);
    }
    if (fsync(file.get()) < 0) return failed(errno);
  }
  if (rename(aside.c_str(), path.c_str()) < 0) return failed(errno);
  const Fd names(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!names || fsync(names.get()) < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

void collect_bans(const LiveLimits& live, const ps_limit& limit, const std::string& rule, std::vector<SavedBan>& out) {
  const Clocks clocks;
  each_ban(live, limit, [&](const LiveBan& ban) {
    if (ban.until + limit.ban_most > clocks.ticks) out.push_back({rule, ban.prefix, clocks.end_of(ban.until), ban.times});
  });
}

PutBans put_saved_bans(const LiveLimits& live, const ps_limit& limit, const std::string& rule, const std::vector<SavedBan>& bans) {
  const Clocks clocks;
  const int64_t remembered = static_cast<int64_t>(limit.ban_most) / ticks_per_ms;
  PutBans out;
  for (const SavedBan& ban : bans) {
    if (ban.rule != rule || ban.end + remembered <= clocks.wall) continue;
    const uint64_t until = (clocks.until(ban.end) & ~PS_BAN_COUNT) | std::min<uint64_t>(ban.times, PS_BAN_COUNT);
    ++(put_ban(live, limit, ban.prefix.address, clocks.ticks, until) ? out.put : out.refused);
  }
  return out;
}

}  // namespace penstock
