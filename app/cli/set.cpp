// penstock set
#include <fmt/format.h>

#include "app/cli/change.h"
#include "app/cli/lines.h"
#include "app/cli/set_change.h"
#include "app/config.h"
#include "core/config/duration.h"
#include "features/sets/elements.h"
#include "features/sets/live_hits.h"

namespace penstock {
namespace {

// remaining: of a run-time element, 0 for ever.
void add_line(Lines& lines, const Invocation& in, const LiveSet& set, const sets::LiveHits& live, const Prefix& prefix, bool file, std::optional<int64_t> remaining) {
  const char* origin = !remaining ? "file" : file ? "file+run-time" : "run-time";
  std::optional<uint64_t> hits;
  if (set.counters)
    if (const uint32_t id = live.find(set.number, sets::to_element(prefix)); id != 0) hits = live.total(id);
  const bool ends = remaining && *remaining > 0;
  if (in.out.is_json()) {
    lines.add(R"({{"schema":"penstock/set/{}","set":"{}","prefix":"{}","origin":"{}","remaining_ms":{},"hits":{}}})", in.command.schema, set.name, prefix.text(),
              origin, ends ? std::to_string(*remaining) : "null", hits ? std::to_string(*hits) : "null");
    return;
  }
  std::string left = "-";
  if (ends) left = duration_text(std::chrono::milliseconds(*remaining >= 1000 ? *remaining / 1000 * 1000 : *remaining));
  if (set.counters)
    lines.add("{:<24} {:<14} {:>12} {:>16}", prefix.text(), origin, left, hits ? count_text(*hits) : "-");
  else
    lines.add("{:<24} {:<14} {:>12}", prefix.text(), origin, left);
}

Result<> list(const Invocation& in) {
  TRY_ASSIGN(const Instance instance, Instance::named(in.globals.instance));
  TRY_ASSIGN(const Running running, observe(instance));
  TRY_ASSIGN(const LiveSet set, find_set(instance, running, in.argument("NAME")));
  TRY_ASSIGN(const Set file, file_part(instance, set));
  TRY_ASSIGN(const auto judged, judged_elements(instance, set));
  TRY_ASSIGN(const sets::LiveHits hits, sets::LiveHits::open(instance, set.generations));
  Lines lines;
  if (!in.out.is_json()) lines.add("{:<24} {:<14} {:>12}{}", "PREFIX", "ORIGIN", "REMAINING", set.counters ? "             HITS" : "");
  const auto add = [&](const Prefix& prefix, bool in_file, std::optional<int64_t> remaining) { add_line(lines, in, set, hits, prefix, in_file, remaining); };
  auto b = judged.begin();
  for (const Prefix& prefix : file.prefixes) {
    for (; b != judged.end() && b->prefix < prefix; ++b) add(b->prefix, false, b->remaining);
    const bool both = b != judged.end() && b->prefix == prefix;
    add(prefix, true, both ? std::optional(b->remaining) : std::nullopt);
    if (both) ++b;
  }
  for (; b != judged.end(); ++b) add(b->prefix, false, b->remaining);
  return {};
}

Result<> check_usage(const Invocation& in) {
  const std::string action = in.argument("ACTION");
  if ((action == "list" || action == "flush") && !in.all_arguments("PREFIX").empty()) return set_usage(fmt::format("set {} takes no prefixes", action));
  if (const auto text = in.option("--for")) {
    if (action != "add") return set_usage("--for belongs to `set add`");
    const auto time = parse_duration(*text);
    if (!time || time->count() == 0) return set_usage(fmt::format("`{}` is no lifetime", *text), "write it like 90s, 10m or 1d");
  }
  if (in.has("--stream")) {
    if (action != "add") return set_usage("--stream belongs to `set add`");
    if (!in.all_arguments("PREFIX").empty()) return set_usage("--stream reads standard input, and no prefixes beside it");
  }
  return {};
}

int run(const Invocation& in) {
  if (auto good = check_usage(in); !good) return in.out.fail(good.error());
  if (in.has("--stream")) return stream_set(in);
  if (in.argument("ACTION") != "list") return change_set(in);
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
        "add --stream takes decisions as they come, until standard input ends: lines as above, where `-` in front of a prefix takes it out, or "
        "JSON: {\"value\": \"192.0.2.7\", \"duration\": \"4h\"}, lists of these, or what CrowdSec's local API sends ({\"new\": [...], \"deleted\": [...]}). "
        "What comes together is one change. A bad entry is named and left out, and the exit code is 1 in the end.\n\n"
        "Lifetimes are kept in wall time, and judged by a clock that nobody sets: after the wall clock was "
        "set, the ends of a set's elements follow it from the next change of that set's elements on, or the next boot.\n\n"
        "list shows where each element comes from, how long it stays and, for sets with `counters: yes`, its hits. A hit counts for the "
        "longest prefix that covers the address, of the file or of run time. list --json prints one object a line: prefix, origin (file, "
        "run-time or file+run-time), remaining_ms and hits, null where there is none.",
    .arguments = {{.name = "ACTION", .description = "list, add, del or flush", .kind = Kind::choice, .choices = {"list", "add", "del", "flush"}},
                  {.name = "NAME", .description = "the set"},
                  {.name = "PREFIX", .description = "192.0.2.0/24, 2001:db8::1, or - for standard input", .optional = true, .many = true}},
    .options = {{.name = "--for", .metavar = "DURATION", .description = "how long the added elements stay (default: for ever)", .kind = Kind::duration},
                {.name = "--stream", .description = "add: read decisions from standard input for as long as they come"}},
    .examples = {{"penstock set add badnets 203.0.113.0/24 --for 10m", "block a network for ten minutes"},
                 {"penstock set add badnets - < feed.txt", "add a list"},
                 {"curl -s $LAPI/v1/decisions/stream?startup=true -H \"X-Api-Key: $KEY\" | penstock set add banned --stream", "what CrowdSec has decided"},
                 {"penstock set list badnets --json", "one object a line"}},
    .exits = {{Exit::done, "done"}, {Exit::failed, "failed, or refused: nothing changed"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
