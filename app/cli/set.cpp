// penstock set
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "app/config.h"
#include "core/config/duration.h"
#include "core/config/types.h"
#include "features/sets/element_stream.h"
#include "features/sets/elements.h"
#include "features/sets/live_hits.h"
#include "features/sets/place.h"

namespace penstock {
namespace {

using sets::RunTimeElement;

constexpr size_t output_block = 64u << 10;

Failure usage(std::string message, std::string hint = {}) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return fail(std::move(d), Exit::usage);
}

// The set as the revision's own copy of the file says it.
Result<Set> file_part(const Instance& instance, const LiveSet& set, std::string* text = nullptr) {
  TRY_ASSIGN(const Revision revision, Revisions(instance).read(set.revision));
  TRY_ASSIGN(Config config, config_of(instance, revision));
  if (text) *text = std::move(config.text);
  for (Set& s : config.sets)
    if (s.name == set.name) return std::move(s);
  return fail(fmt::format("revision {} does not name the set `{}`", set.revision, set.name));
}

// The prefixes on the command line, or with `-` those of standard input.
Result<std::vector<StreamedElement>> read_elements(const Invocation& in) {
  const auto words = in.all_arguments("PREFIX");
  if (words.empty()) return usage("which prefixes?", "name them, or `-` to read them from standard input");
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
    return usage(message, hint);
  }
  return out;
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
  std::optional<std::chrono::milliseconds> lifetime;
  if (const auto text = in.option("--for")) lifetime = parse_duration(*text);
  const int64_t now = sets::wall_now();
  std::vector<RunTimeElement> more;
  more.reserve(named.size());
  for (const StreamedElement& e : named) {
    const auto life = e.lifetime ? e.lifetime : lifetime;
    more.push_back({e.prefix, life ? now + life->count() : 0});
  }
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

int change(const Invocation& in) {
  const std::string name = in.argument("NAME"), action = in.argument("ACTION");
  std::vector<StreamedElement> named;
  if (action != "flush") {  // read before the lock is taken: a stream may be slow
    auto read = read_elements(in);
    if (!read) return in.out.fail(read.error());
    named = std::move(*read);
  }
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  auto running = observe(turn->instance);
  if (!running) return in.out.fail(running.error());
  auto set = find_set(turn->instance, *running, name);
  if (!set && action == "flush" && is_name(name)) set = forgotten_set(turn->instance, name, std::move(set).error());
  if (!set) return in.out.fail(set.error());
  Changed changed;
  auto wanted = wanted_elements(in, turn->instance, *set, std::move(named), changed);
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
  return 0;
}

// Writes a million lines without holding them.
class Lister {
 public:
  Lister(const Invocation& in, const LiveSet& set, const sets::LiveHits& hits) : in_(in), set_(set), hits_(hits) {
    if (!in.out.is_json()) text_ += fmt::format("{:<24} {:<14} {:>12}{}\n", "PREFIX", "ORIGIN", "REMAINING", set.counters ? "             HITS" : "");
  }
  ~Lister() { flush(); }
  Lister(const Lister&) = delete;
  Lister& operator=(const Lister&) = delete;

  // remaining: of a run-time element, 0 for ever.
  void add(const Prefix& prefix, bool file, std::optional<int64_t> remaining) {
    const char* origin = !remaining ? "file" : file ? "file+run-time" : "run-time";
    std::optional<uint64_t> hits;
    if (set_.counters)
      if (const uint32_t id = hits_.find(set_.number, sets::to_element(prefix)); id != 0) hits = hits_.total(id);
    const auto out = std::back_inserter(text_);
    const bool ends = remaining && *remaining > 0;
    if (in_.out.is_json()) {
      fmt::format_to(out, R"({{"schema":"penstock/set/{}","set":"{}","prefix":"{}","origin":"{}","remaining_ms":{},"hits":{}}})" "\n", in_.command.schema, set_.name,
                     prefix.text(), origin, ends ? std::to_string(*remaining) : "null", hits ? std::to_string(*hits) : "null");
    } else {
      std::string left = "-";
      if (ends) left = duration_text(std::chrono::milliseconds(*remaining >= 1000 ? *remaining / 1000 * 1000 : *remaining));
      fmt::format_to(out, "{:<24} {:<14} {:>12}", prefix.text(), origin, left);
      if (set_.counters) fmt::format_to(out, " {:>16}", hits ? count_text(*hits) : "-");
      text_ += '\n';
    }
    if (text_.size() > output_block) flush();
  }

 private:
  void flush() {
    std::fwrite(text_.data(), 1, text_.size(), stdout);
    text_.clear();
  }
  const Invocation& in_;
  const LiveSet& set_;
  const sets::LiveHits& hits_;
  std::string text_;
};

Result<> list(const Invocation& in) {
  TRY_ASSIGN(const Instance instance, Instance::named(in.globals.instance));
  TRY_ASSIGN(const Running running, observe(instance));
  TRY_ASSIGN(const LiveSet set, find_set(instance, running, in.argument("NAME")));
  TRY_ASSIGN(const Set file, file_part(instance, set));
  TRY_ASSIGN(const auto judged, judged_elements(instance, set));
  TRY_ASSIGN(const sets::LiveHits hits, sets::LiveHits::open(instance, set.generations));
  Lister lister(in, set, hits);
  auto b = judged.begin();
  for (const Prefix& prefix : file.prefixes) {
    for (; b != judged.end() && b->prefix < prefix; ++b) lister.add(b->prefix, false, b->remaining);
    const bool both = b != judged.end() && b->prefix == prefix;
    lister.add(prefix, true, both ? std::optional(b->remaining) : std::nullopt);
    if (both) ++b;
  }
  for (; b != judged.end(); ++b) lister.add(b->prefix, false, b->remaining);
  return {};
}

Result<> check_usage(const Invocation& in) {
  const std::string action = in.argument("ACTION");
  if ((action == "list" || action == "flush") && !in.all_arguments("PREFIX").empty()) return usage(fmt::format("set {} takes no prefixes", action));
  if (const auto text = in.option("--for")) {
    if (action != "add") return usage("--for belongs to `set add`");
    const auto time = parse_duration(*text);
    if (!time || time->count() == 0) return usage(fmt::format("`{}` is no lifetime", *text), "write it like 90s, 10m or 1d");
  }
  return {};
}

int run(const Invocation& in) {
  if (auto good = check_usage(in); !good) return in.out.fail(good.error());
  if (in.argument("ACTION") != "list") return change(in);
  auto done = list(in);
  return done ? 0 : in.out.fail(done.error());
}

}  // namespace

const Command command_set = {
    .name = "set",
    .summary = "list, add and remove elements of a set while it runs",
    .description =
        "Run-time elements belong to the node, not to its file: they survive apply, reload, rollback and a reboot, and are no drift. While a "
        "change waits to be confirmed they apply to both generations. A change is one swap: no packet meets half of it.\n\n"
        "add of an element that is there gives it a new lifetime. With `-` add and del read standard input: one prefix a line, for add a "
        "lifetime behind it where it has its own, `#` comments. One bad line refuses the whole stream. An element ends when the kernel's clock "
        "says so, also if no process of penstock is alive; a wider one that it covered matches again. del and flush "
        "touch no element of the file.\n\n"
        "Lifetimes are kept in wall time, and judged by a clock that nobody sets: after the wall clock was "
        "set, the ends of a set's elements follow it from the next change of that set's elements on, or the next boot.\n\n"
        "list shows where each element comes from, how long it stays and, for sets with `counters: yes`, its hits. A hit counts for the "
        "longest prefix that covers the address, of the file or of run time. list --json prints one object a line: prefix, origin (file, "
        "run-time or file+run-time), remaining_ms and hits, null where there is none.",
    .arguments = {{.name = "ACTION", .description = "list, add, del or flush", .kind = Kind::choice, .choices = {"list", "add", "del", "flush"}},
                  {.name = "NAME", .description = "the set"},
                  {.name = "PREFIX", .description = "192.0.2.0/24, 2001:db8::1, or - for standard input", .optional = true, .many = true}},
    .options = {{.name = "--for", .metavar = "DURATION", .description = "how long the added elements stay (default: for ever)", .kind = Kind::duration}},
    .examples = {{"penstock set add badnets 203.0.113.0/24 --for 10m", "block a network for ten minutes"},
                 {"penstock set add badnets - < feed.txt", "add a list"},
                 {"penstock set list badnets --json", "one object a line"}},
    .exits = {{Exit::done, "done"}, {Exit::failed, "failed, or refused: nothing changed"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
