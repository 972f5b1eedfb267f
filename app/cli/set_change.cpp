#include "app/cli/set_change.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <iterator>
#include <map>

#include "app/cli/change.h"
#include "app/config.h"
#include "core/config/duration.h"
#include "core/config/types.h"
#include "features/sets/decisions.h"
#include "features/sets/elements.h"
#include "features/sets/place.h"

namespace penstock {

Failure set_usage(std::string message, std::string hint) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return fail(std::move(d), Exit::usage);
}

// The set as the revision's own copy of the file says it.
Result<Set> file_part(const Instance& instance, const LiveSet& set, std::string* text) {
  TRY_ASSIGN(const Revision revision, Revisions(instance).read(set.revision));
  TRY_ASSIGN(Config config, config_of(instance, revision));
  if (text) *text = std::move(config.text);
  for (Set& s : config.sets)
    if (s.name == set.name) return std::move(s);
  return fail(fmt::format("revision {} does not name the set `{}`", set.revision, set.name));
}

namespace {

using sets::RunTimeElement;

// The prefixes on the command line, or with `-` those of standard input.
Result<std::vector<StreamedElement>> read_elements(const Invocation& in) {
  const auto words = in.all_arguments("PREFIX");
  if (words.empty()) return set_usage("which prefixes?", "name them, or `-` to read them from standard input");
  if (words.size() == 1 && words[0] == "-") return read_element_stream(STDIN_FILENO, "standard input");
  std::vector<StreamedElement> out;
  for (const std::string& word : words) {
    const ParsedPrefix parsed = parse_prefix(word);
    if (parsed.error == PrefixError::none) {
      out.push_back({parsed.prefix, {}});
      continue;
    }
    std::string hint;
    const std::string message = prefix_problem(parsed, word, hint);
    return set_usage(message, hint);
  }
  return out;
}

std::optional<std::chrono::milliseconds> lifetime_option(const Invocation& in) {
  const auto text = in.option("--for");
  return text ? parse_duration(*text) : std::nullopt;
}

int64_t end_of(const StreamedElement& element, std::optional<std::chrono::milliseconds> lifetime, int64_t now) {
  const auto life = element.lifetime ? element.lifetime : lifetime;
  return life ? now + life->count() : 0;
}

// Sorted by prefix, the last of equals.
void normalize(std::vector<RunTimeElement>& elements) {
  const auto before = [](const RunTimeElement& a, const RunTimeElement& b) { return a.prefix < b.prefix; };
  if (!std::is_sorted(elements.begin(), elements.end(), before)) std::stable_sort(elements.begin(), elements.end(), before);
  const auto kept = std::unique(elements.rbegin(), elements.rend(), [](const auto& a, const auto& b) { return a.prefix == b.prefix; });
  elements.erase(elements.begin(), kept.base());
}

struct Changed {
  size_t added = 0, renewed = 0, removed = 0;
};

// Both lists are normalized; the second wins.
std::vector<RunTimeElement> merge(const std::vector<RunTimeElement>& had, const std::vector<RunTimeElement>& more, Changed& changed) {
  std::vector<RunTimeElement> out;
  out.reserve(had.size() + more.size());
  auto a = had.begin();
  for (const RunTimeElement& b : more) {
    for (; a != had.end() && a->prefix < b.prefix; ++a) out.push_back(*a);
    if (a != had.end() && a->prefix == b.prefix) {
      ++changed.renewed;
      ++a;
    } else {
      ++changed.added;
    }
    out.push_back(b);
  }
  out.insert(out.end(), a, had.end());
  return out;
}

Failure missing(const Instance& instance, const LiveSet& set, const std::vector<Prefix>& prefixes) {
  const Prefix& first = prefixes.front();
  Diagnostic d{fmt::format("{} is no run-time element of the set `{}`", first.text(), set.name)};
  std::string text;
  if (const auto file = file_part(instance, set, &text); file && std::ranges::binary_search(file->prefixes, first)) {
    d.message = fmt::format("{} is an element of the file, not of run time", first.text());
    const std::string at = place_of(*file, first, text).text();
    d.hint = fmt::format("take it out at {} and apply", at);
  } else {
    d.hint = fmt::format("`penstock set list {}` shows the elements", set.name);
  }
  if (prefixes.size() > 1) d.detail.push_back(fmt::format("and {} more that are not there", prefixes.size() - 1));
  return fail(std::move(d));
}

Result<std::vector<RunTimeElement>> without(const Instance& instance, const LiveSet& set, const std::vector<RunTimeElement>& had,
                                            std::vector<Prefix> prefixes, Changed& changed) {
  std::ranges::sort(prefixes);
  const auto rest = std::ranges::unique(prefixes);
  prefixes.erase(rest.begin(), rest.end());
  std::vector<RunTimeElement> out;
  std::vector<Prefix> absent;
  auto p = prefixes.begin();
  for (const RunTimeElement& e : had) {
    for (; p != prefixes.end() && *p < e.prefix; ++p) absent.push_back(*p);
    if (p != prefixes.end() && *p == e.prefix) {
      ++p;
      ++changed.removed;
    } else {
      out.push_back(e);
    }
  }
  absent.insert(absent.end(), p, prefixes.end());
  if (!absent.empty()) return missing(instance, set, absent);
  return out;
}

Result<std::vector<RunTimeElement>> wanted_elements(const Invocation& in, const Instance& instance, const LiveSet& set,
                                                    std::vector<StreamedElement> named, Changed& changed) {
  const std::string action = in.argument("ACTION");
  TRY_ASSIGN(const std::vector<RunTimeElement> had, run_time_elements(instance, set.name));
  if (action == "flush") {
    changed.removed = had.size();
    return std::vector<RunTimeElement>{};
  }
  if (action == "del") {
    std::vector<Prefix> prefixes;
    prefixes.reserve(named.size());
    for (const StreamedElement& e : named) prefixes.push_back(e.prefix);
    return without(instance, set, had, std::move(prefixes), changed);
  }
  const auto lifetime = lifetime_option(in);
  const int64_t now = sets::wall_now();
  std::vector<RunTimeElement> more;
  more.reserve(named.size());
  for (const StreamedElement& e : named) more.push_back({e.prefix, end_of(e, lifetime, now)});
  named = {};
  normalize(more);
  return merge(had, more, changed);
}

// A set that no file names any more keeps its elements for a rollback; flush is the way to forget them.
Result<LiveSet> forgotten_set(const Instance& instance, const std::string& name, Error error) {
  TRY_ASSIGN(const sets::ElementsHeader header, sets::read_elements_header(sets::elements_path(instance, name)));
  if (header.version == 0) return Failure(std::move(error));
  return LiveSet{.name = name, .number = header.number, .counters = false, .revision = 0, .generations = {}};
}

using Wanted = std::function<Result<std::vector<RunTimeElement>>(const Instance&, const LiveSet&, Changed&)>;

// One change under the lock, told to the user.
int change(const Invocation& in, const Wanted& compute) {
  const std::string name = in.argument("NAME");
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  auto running = observe(turn->instance);
  if (!running) return in.out.fail(running.error());
  auto set = find_set(turn->instance, *running, name);
  if (!set && in.argument("ACTION") == "flush" && is_name(name)) set = forgotten_set(turn->instance, name, std::move(set).error());
  if (!set) return in.out.fail(set.error());
  Changed changed;
  auto wanted = compute(turn->instance, *set, changed);
  if (!wanted) return in.out.fail(wanted.error());
  const size_t count = wanted->size();
  auto uncounted = put_run_time_elements(turn->instance, *set, std::move(*wanted));
  if (!uncounted) return in.out.fail(uncounted.error());
  if (*uncounted > 0) {
    Diagnostic d{fmt::format("{} of the elements are matched but not counted: the counters are full", count_text(*uncounted))};
    d.hint = "the next apply of a changed file makes room";
    in.out.warn(d);
  }
  std::string text;
  const auto say = [&](size_t number, const char* what) {
    if (number > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count_text(number), what);
  };
  say(changed.added, "added");
  say(changed.renewed, "renewed");
  say(changed.removed, "removed");
  in.out.print(fmt::format("{}: {}; {} run-time element{}\n", name, text.empty() ? "nothing to do" : text, count_text(count), count == 1 ? "" : "s"));
  in.out.json({{"set", name}, {"added", changed.added}, {"renewed", changed.renewed}, {"removed", changed.removed},
               {"elements", count}, {"uncounted", *uncounted}});
  std::fflush(stdout);  // whoever feeds a stream waits for it
  return 0;
}

// The elements after all decisions, the last one on each prefix; to remove what is not there is no error.
std::vector<RunTimeElement> decided(const std::vector<RunTimeElement>& had, const std::vector<Decision>& decisions,
                                    std::optional<std::chrono::milliseconds> lifetime, Changed& changed) {
  std::map<Prefix, const Decision*> last;
  for (const Decision& d : decisions) last[d.element.prefix] = &d;
  const int64_t now = sets::wall_now();
  std::vector<RunTimeElement> more, kept;
  for (const auto& [prefix, decision] : last)
    if (!decision->removed) more.push_back({prefix, end_of(decision->element, lifetime, now)});
  for (const RunTimeElement& e : had) {
    const auto found = last.find(e.prefix);
    if (found != last.end() && found->second->removed)
      ++changed.removed;
    else
      kept.push_back(e);
  }
  return merge(kept, more, changed);
}

// Waits for something to read, at most `ms` (-1: for ever).
bool readable(int fd, int ms) {
  pollfd p{fd, POLLIN, 0};
  int got = 0;
  do got = poll(&p, 1, ms);
  while (got < 0 && errno == EINTR);
  return got > 0;
}

}  // namespace

int change_set(const Invocation& in) {
  const std::string action = in.argument("ACTION");
  std::vector<StreamedElement> named;
  if (action != "flush") {  // read before the lock is taken: standard input may be slow
    auto read = read_elements(in);
    if (!read) return in.out.fail(read.error());
    named = std::move(*read);
  }
  return change(in, [&](const Instance& instance, const LiveSet& set, Changed& changed) { return wanted_elements(in, instance, set, std::move(named), changed); });
}

int stream_set(const Invocation& in) {
  constexpr size_t block_size = 256u << 10, most_at_once = 250'000;
  constexpr int quiet_ms = 20;  // what comes together is one change
  DecisionReader reader("standard input");
  const auto lifetime = lifetime_option(in);
  std::vector<Decision> decisions;
  std::string block(block_size, '\0');
  bool ended = false, refused = false;
  while (!ended) {
    const ssize_t got = read(STDIN_FILENO, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return in.out.fail(fail_errno("cannot read standard input", errno).error());
    ended = got == 0;
    reader.feed({block.data(), static_cast<size_t>(got)}, ended);
    std::ranges::move(reader.take(), std::back_inserter(decisions));
    for (Diagnostic& d : reader.take_refused()) {
      d.message += ": left out";
      in.out.warn(d);
      refused = true;
    }
    if (decisions.empty() || (!ended && decisions.size() < most_at_once && readable(STDIN_FILENO, quiet_ms))) continue;
    const int code = change(in, [&](const Instance& instance, const LiveSet& set, Changed& changed) -> Result<std::vector<RunTimeElement>> {
      TRY_ASSIGN(const auto had, run_time_elements(instance, set.name));
      return decided(had, decisions, lifetime, changed);
    });
    if (code != 0) return code;
    decisions.clear();
  }
  if (reader.left_out() > 0) in.out.warn(Diagnostic{fmt::format("{} decisions are left out: no ban, or not of an address", count_text(reader.left_out()))});
  return refused ? static_cast<int>(Exit::failed) : 0;
}

}  // namespace penstock
