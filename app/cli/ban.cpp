// penstock ban
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "app/cli/lines.h"
#include "app/limits.h"
#include "core/base/diagnostic.h"
#include "core/config/duration.h"
#include "features/limits/bans.h"

namespace penstock {
namespace {

constexpr uint64_t ticks_per_ms = PS_TICKS(1'000'000ull);

Failure usage(std::string message, std::string hint = {}) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return fail(std::move(d), Exit::usage);
}

// The limits with bans of a generation that is alive, the one that judges first.
struct Generation {
  LiveLimits live;
  std::vector<RuleLimit> rules;
};
Result<std::vector<Generation>> open_generations(const Instance& instance, const std::string& rule) {
  TRY_ASSIGN(const Running running, observe(instance));
  std::vector<uint64_t> numbers = {running.active(coarse_now())};
  if (running.transaction)
    for (const uint64_t other : {running.transaction->to, running.transaction->from})
      if (std::ranges::find(numbers, other) == numbers.end()) numbers.push_back(other);
  std::vector<Generation> out;
  std::vector<std::string> known;
  for (const uint64_t number : numbers) {
    if (number == 0) continue;
    TRY_ASSIGN(const Revision revision, Revisions(instance).read(number));
    Generation g;
    TRY_ASSIGN(g.live, LiveLimits::open(instance, number));
    for (RuleLimit& r : rule_limits(g.live, revision.slots)) {
      if (r.limit.ban_lines == 0) continue;
      known.push_back(r.name);
      if (rule.empty() || r.name == rule || r.name.substr(r.name.find('/') + 1) == rule) g.rules.push_back(std::move(r));
    }
    out.push_back(std::move(g));
  }
  if (out.empty()) return fail(fmt::format("nothing runs in instance {}", instance.name), "apply a file first");
  if (known.empty()) return fail("no rule that runs has a ban", "write `limit: { rate: ..., ban: 5m }` to one");
  if (out.front().rules.empty()) return fail(fmt::format("no rule `{}` with a ban runs", rule), did_you_mean(rule, known));
  return out;
}

void add_line(Lines& lines, const Invocation& in, const RuleLimit& rule, const LiveBan& ban, uint64_t left) {
  const uint64_t ms = (left + ticks_per_ms - 1) / ticks_per_ms;
  if (in.out.is_json())
    lines.add(R"({{"schema":"penstock/ban/{}","rule":"{}","address":"{}","remaining_ms":{},"times":{}}})", in.command.schema, rule.name, ban.prefix.text(), ms, ban.times);
  else
    lines.add("{:<28} {:<24} {:>12} {:>6}", ban.prefix.text(), rule.name, duration_text(std::chrono::milliseconds(ms >= 1000 ? ms / 1000 * 1000 : ms)), ban.times);
}

Result<> list(const Invocation& in) {
  TRY_ASSIGN(const Instance instance, Instance::named(in.globals.instance));
  TRY_ASSIGN(const auto generations, open_generations(instance, in.option("--rule").value_or("")));
  const Generation& judging = generations.front();
  const uint64_t now = ticks_now();
  Lines lines;
  if (!in.out.is_json()) lines.add("{:<28} {:<24} {:>12} {:>6}", "ADDRESS", "RULE", "REMAINING", "TIMES");
  for (const RuleLimit& rule : judging.rules)
    each_ban(judging.live, rule.limit, [&](const LiveBan& ban) {
      if (ban.until > now) add_line(lines, in, rule, ban, ban.until - now);
    });
  return {};
}

Result<std::vector<Address>> read_addresses(const Invocation& in) {
  std::vector<Address> out;
  for (const std::string& word : in.all_arguments("ADDRESS")) {
    const ParsedPrefix parsed = parse_prefix(word);  // as list prints them
    if (parsed.error != PrefixError::none) return usage(fmt::format("`{}` is no address", word), "write 192.0.2.1 or 2001:db8::1");
    out.push_back(parsed.prefix.address);
  }
  if (out.empty()) return usage("which addresses?", "name them as `penstock ban list` shows them");
  return out;
}

struct Changed {
  size_t banned = 0, ended = 0, refused = 0;
};

// To every generation: where both have their lines in common, the second finds it done.
Result<Changed> change(const Invocation& in, const Instance& instance, const std::vector<Address>& addresses) {
  const std::string action = in.argument("ACTION");
  TRY_ASSIGN(const auto generations, open_generations(instance, in.option("--rule").value_or("")));
  if (action == "add" && generations.front().rules.size() > 1)
    return usage("which rule is to ban them?", fmt::format("--rule {}", generations.front().rules.front().name));
  const auto time = in.option("--for") ? parse_duration(*in.option("--for")) : std::nullopt;
  const uint64_t now = ticks_now();
  Changed out;
  for (const Generation& g : generations) {
    const bool judges = &g == &generations.front();
    for (const RuleLimit& rule : g.rules) {
      if (action == "flush") {
        each_ban(g.live, rule.limit, [&](const LiveBan& ban) {
          const bool ended = remove_ban(g.live, rule.limit, ban.prefix.address);
          out.ended += judges && ended;
        });
        continue;
      }
      for (const Address& address : addresses) {
        if (action == "del") {
          const bool ended = remove_ban(g.live, rule.limit, address);
          out.ended += judges && ended;
        } else {
          const uint64_t length = time ? static_cast<uint64_t>(time->count()) * ticks_per_ms : rule.limit.ban;
          const bool put = (!judges && find_ban(g.live, rule.limit, address)) || put_ban(g.live, rule.limit, address, now, (now + length) & ~PS_BAN_COUNT);
          out.banned += judges && put;
          out.refused += judges && !put;
        }
      }
    }
  }
  return out;
}

int run_change(const Invocation& in) {
  std::vector<Address> addresses;
  if (in.argument("ACTION") != "flush") {
    auto read = read_addresses(in);
    if (!read) return in.out.fail(read.error());
    addresses = std::move(*read);
  }
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  const auto changed = change(in, turn->instance, addresses);
  if (!changed) return in.out.fail(changed.error());
  // What was said here must stand after a power cut, too.
  if (const auto running = observe(turn->instance); running)
    if (const auto saved = save_bans(turn->instance, *running); !saved) in.out.warn(saved.error().diagnostics.front());
  in.out.print(in.argument("ACTION") == "add" ? fmt::format("{} banned\n", count_text(changed->banned)) : fmt::format("{} no longer banned\n", count_text(changed->ended)));
  in.out.json({{"banned", changed->banned}, {"ended", changed->ended}, {"refused", changed->refused}});
  if (changed->refused > 0) return in.out.fail(Error(Diagnostic{.message = fmt::format("{} found no place: the ban table is full", count_text(changed->refused)), .hint = "give the limit more `entries`"}));
  if (in.argument("ACTION") == "del" && changed->ended == 0) return in.out.fail(Error(Diagnostic{.message = "none of them was banned", .hint = "see `penstock ban list`"}));
  return 0;
}

int run(const Invocation& in) {
  const std::string action = in.argument("ACTION");
  const auto refuse = [&](std::string message, std::string hint = {}) { return in.out.fail(usage(std::move(message), std::move(hint)).error()); };
  if ((action == "list" || action == "flush") && !in.all_arguments("ADDRESS").empty()) return refuse(fmt::format("ban {} takes no addresses", action));
  if (const auto text = in.option("--for")) {
    if (action != "add") return refuse("--for belongs to `ban add`");
    const auto time = parse_duration(*text);
    if (!time || time->count() == 0) return refuse(fmt::format("`{}` is no duration", *text), "write it like 90s, 10m or 1d");
  }
  if (action != "list") return run_change(in);
  const auto done = list(in);
  return done ? 0 : in.out.fail(done.error());
}

}  // namespace

const Command command_ban = {
    .name = "ban",
    .summary = "list, add and end the bans of rules with a limit",
    .description =
        "Bans live in the kernel: they survive apply, rollback and upgrade as long as the rule keeps its name and action, and need no process. `penstock save` writes them "
        "down for the next boot, and so do add, del and flush. While a change waits to be confirmed, add, del and flush apply to both generations.\n\n"
        "list shows the address or prefix, the rule, how long the ban still lasts and how often the address was banned. With --json it prints one object a line.\n\n"
        "add bans for the rule's own first time, or --for. A ban that runs gets the new end. del ends bans and forgets them: the next is a first one; "
        "without --rule those of every rule. What is over the rate is banned again at once.",
    .arguments = {{.name = "ACTION", .description = "list, add, del or flush", .kind = Kind::choice, .choices = {"list", "add", "del", "flush"}},
                  {.name = "ADDRESS", .description = "192.0.2.1 or 2001:db8::1; the limit's prefix of it is banned", .optional = true, .many = true}},
    .options = {{.name = "--rule", .metavar = "RULE", .description = "RULE or POLICY/RULE (add: needed where several rules ban)", .kind = Kind::text},
                {.name = "--for", .metavar = "DURATION", .description = "how long the added bans last (default: as the rule says)", .kind = Kind::duration}},
    .examples = {{"penstock ban list", "who is out"},
                 {"penstock ban add 192.0.2.7 --rule edge/ssh --for 1h", "keep an address out"},
                 {"penstock ban del 192.0.2.7", "let it in again"}},
    .run = run,
};

}  // namespace penstock
