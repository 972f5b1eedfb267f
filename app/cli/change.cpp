#include "app/cli/change.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/guard.h"
#include "core/base/diagnostic.h"
#include "core/config/duration.h"
#include "features/sets/elements.h"

namespace penstock {

using namespace std::chrono_literals;

Result<Turn> take_turn(const Invocation& in, std::chrono::milliseconds patience) {
  Turn turn;
  TRY_ASSIGN(turn.instance, Instance::named(in.globals.instance));
  TRY(ensure_bpffs());
  TRY_ASSIGN(turn.lock, Lock::take(turn.instance, patience, [&](const std::string& holder) {
               in.out.warn(Diagnostic{fmt::format("waiting for {}", holder)});
             }));
  TRY_ASSIGN(turn.settled, settle(turn.instance));
  TRY(sync_elements(turn.instance));
  const Settled& s = turn.settled;
  switch (s.what) {
    case Settled::What::finished: in.out.warn(Diagnostic{fmt::format("finished the change to revision {}, which had been cut off", s.to)}); break;
    case Settled::What::reverted:
      in.out.warn(Diagnostic{fmt::format("revision {} was not confirmed in time: {} runs since its deadline", s.to,
                                         s.from ? fmt::format("revision {}", s.from) : "nothing")});
      break;
    case Settled::What::undone: in.out.warn(Diagnostic{fmt::format("removed what was left of revision {}, which was cut off before it became active", s.to)}); break;
    case Settled::What::nothing: break;
  }
  for (const Diagnostic& d : s.warnings) in.out.warn(d);
  return turn;
}

std::string elapsed_text(std::chrono::nanoseconds time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  if (ms < 1000) return fmt::format("{} ms", ms);
  if (ms < 10'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
  if (ms < 120'000) return fmt::format("{} s", (ms + 500) / 1000);
  return fmt::format("{} min {} s", ms / 60'000, ms / 1000 % 60);
}

std::string time_text(int64_t seconds) { return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(seconds))); }

std::string count_text(uint64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

Json plan_json(const Prepared& prepared) {
  Json actions = Json::array();
  for (const PlanAction& a : prepared.plan.actions)
    actions.push_back({{"kind", action_name(a.kind)}, {"change", a.sign == '+' ? "add" : a.sign == '-' ? "remove" : "modify"},
                       {"subject", a.subject}, {"text", a.text}, {"impact", a.impact}, {"undo", a.undo}});
  Json warnings = Json::array();
  for (const Diagnostic& d : prepared.warnings) warnings.push_back(diagnostic_json(d));
  for (const Diagnostic& d : prepared.plan.fallbacks) warnings.push_back(diagnostic_json(d));
  Json risks = Json::array();
  for (const Risk& r : prepared.risks) risks.push_back({{"risk", r.name}, {"lost", r.lost}, {"by", r.by}, {"at", r.at.text()}});
  return {{"empty", prepared.plan.empty()},
          {"running", prepared.running.state.generation},
          {"next", prepared.change.revision.number},
          {"actions", std::move(actions)},
          {"notes", prepared.plan.notes},
          {"risks", std::move(risks)},
          {"tests_passed", prepared.tests_passed},
          {"warnings", std::move(warnings)}};
}

std::string plan_text(const Output& out, const Prepared& prepared) {
  std::string text;
  size_t width = 0;
  for (const PlanAction& a : prepared.plan.actions) width = std::max(width, a.subject.size());
  for (const PlanAction& a : prepared.plan.actions) {
    const Style style = a.sign == '+' ? Style::good : a.sign == '-' ? Style::bad : Style::warning;
    text += fmt::format("  {} {:<{}}  {}\n", out.styled(style, std::string(1, a.sign)), a.subject, width, a.text);
    if (!a.impact.empty()) text += fmt::format("    {:<{}}  {}\n", "", width, out.styled(Style::warning, "impact: " + a.impact));
  }
  for (const Risk& r : prepared.risks)
    text += fmt::format("  {} {:<{}}  {}: {} ({})\n", out.styled(Style::bad, "!"), "risk", width, r.name, r.lost, r.at.known() ? r.by + ", " + r.at.text() : r.by);
  for (const std::string& note : prepared.plan.notes) text += fmt::format("  {}\n", out.styled(Style::dim, "note: " + note));
  if (prepared.tests_passed) text += fmt::format("  {} test{} of the file passed\n", prepared.tests_passed, prepared.tests_passed == 1 ? "" : "s");
  return text;
}

namespace {
// The risks that nobody accepted, as one error.
Result<> require_accepted(const Prepared& prepared, const std::vector<std::string>& accepted) {
  Error error;
  error.exit = Exit::risk;
  for (const Risk& r : prepared.risks) {
    if (std::find(accepted.begin(), accepted.end(), r.name) != accepted.end()) continue;
    Diagnostic d{fmt::format("{}: {} would be lost by {}", r.name, r.lost, r.by)};
    d.at = r.at;
    d.hint = fmt::format("change the file, or say --accept-risk {}", r.name);
    error.diagnostics.push_back(std::move(d));
  }
  if (error.diagnostics.empty()) return {};
  return Failure(std::move(error));
}

Result<> load_and_judge(const Instance& instance, Prepared& prepared, Candidate& candidate) {
  if (!prepared.plan.reload) return {};
  TRY_ASSIGN(candidate, load_candidate(instance, prepared));
  return judge(instance, prepared, &candidate);
}
}  // namespace

std::vector<Option> apply_options() {
  return {{.name = "--confirm", .metavar = "DURATION",
           .description = "run the change until the deadline and then go back, unless `penstock confirm` comes first; `never` asks for no confirmation (default: 60s over SSH, else never)",
           .kind = Kind::text},
          {.name = "--accept-risk", .metavar = "NAME", .description = "go on in spite of this risk", .kind = Kind::choice,
           .choices = {"lose-ssh", "lose-nd", "lose-dhcp", "lose-replies"}, .repeat = true}};
}

Result<ApplyOptions> read_apply_options(const Invocation& in) {
  ApplyOptions options;
  options.accepted = in.all_options("--accept-risk");
  const auto text = in.option("--confirm");
  if (!text) {
    if (over_ssh()) options.confirm = 60s;
    return options;
  }
  if (*text == "never") return options;
  auto time = parse_duration(*text);
  if (!time || *time < 1s || *time > 24h) {
    Diagnostic d{fmt::format("`{}` is no time to confirm within", *text)};
    d.hint = "use 1s to 24h, as in 90s or 5m, or never";
    return fail(std::move(d), Exit::usage);
  }
  options.confirm = *time;
  return options;
}

std::vector<Diagnostic> bans_lost(const Result<PutBans>& restored) {
  if (!restored) return restored.error().diagnostics;
  if (restored->refused == 0) return {};
  return {Diagnostic{.message = fmt::format("{} saved bans found no place: the ban table is full", count_text(restored->refused)), .hint = "give the limit more `entries`"}};
}

int apply_prepared(const Invocation& in, const Instance& instance, Prepared& prepared, const ApplyOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Candidate candidate;
  const auto judged = load_and_judge(instance, prepared, candidate);
  for (const Diagnostic& d : prepared.warnings) in.out.warn(d);
  Json result = plan_json(prepared);
  if (prepared.plan.empty()) {
    in.out.print(fmt::format("nothing to do: revision {} runs and says the same\n", prepared.running.state.generation));
    result["revision"] = prepared.running.state.generation;
    result["waiting"] = false;
    in.out.json(result);
    return 0;
  }
  if (!judged) {
    in.out.print(plan_text(in.out, prepared));
    return in.out.fail(judged.error());
  }
  in.out.print(plan_text(in.out, prepared));
  if (auto safe = require_accepted(prepared, options.accepted); !safe) {
    quote_source(safe.error(), prepared.config);
    return in.out.fail(safe.error());
  }

  const uint64_t number = prepared.change.revision.number;
  if (!prepared.plan.reload) {
    prepared.change.revision.generation = prepared.running.state.generation;
    if (auto done = record_only(instance, prepared.change); !done) return in.out.fail(done.error());
    in.out.print(fmt::format("revision {} is saved; generation {} runs on\n", number, prepared.running.state.generation));
    result["revision"] = number;
    result["waiting"] = false;
    in.out.json(result);
    return 0;
  }

  if (auto restored = restore_elements(instance, prepared.change.image, prepared.change.revision.generation, candidate.programs); !restored)
    return in.out.fail(restored.error());
  if (prepared.running.state.generation == 0)
    for (const Diagnostic& d : bans_lost(restore_bans(instance, prepared.change.image.slots, candidate.programs))) in.out.warn(d);
  prepared.change.confirm = options.confirm;
  if (options.confirm && !prepared.change.settings.empty()) {
    if (auto guarded = start_guard(instance); !guarded) {
      Diagnostic d = guarded.error().diagnostics.front();
      d.hint = "if nobody confirms, the next command puts the settings of devices back";
      in.out.warn(d);
    }
  }
  auto applied = carry_out(instance, prepared.change, candidate);
  if (!applied) return in.out.fail(applied.error());
  for (const Diagnostic& d : applied->warnings) {
    in.out.warn(d);
    result["warnings"].push_back(diagnostic_json(d));
  }
  const auto took = std::chrono::steady_clock::now() - start;
  result["revision"] = number;
  result["waiting"] = applied->waiting;
  result["milliseconds"] = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  if (applied->waiting) {
    result["confirm_within_seconds"] = std::chrono::duration<double>(*options.confirm).count();
    in.out.print(fmt::format("revision {} runs on {} device{} for {}; keep it with `penstock{} confirm`, or the kernel goes back to {} by itself\n", number,
                             prepared.attachments.size(), prepared.attachments.size() == 1 ? "" : "s", elapsed_text(*options.confirm),
                             instance.name == "default" ? "" : " --instance " + instance.name,
                             prepared.running.state.generation ? fmt::format("revision {}", prepared.running.state.generation) : "nothing attached"));
  } else {
    in.out.print(fmt::format("revision {} is active on {} device{} ({})\n", number, prepared.attachments.size(),
                             prepared.attachments.size() == 1 ? "" : "s", elapsed_text(took)));
  }
  in.out.json(result);
  return 0;
}

}  // namespace penstock
