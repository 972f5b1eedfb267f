// penstock rollback
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

Result<> refuse_while_waiting(const Instance& instance) {
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.transaction) return {};
  const uint64_t now = coarse_now();
  return fail(fmt::format("revision {} waits to be confirmed, for another {}", running.transaction->to,
                          elapsed_text(std::chrono::nanoseconds(running.transaction->deadline > now ? running.transaction->deadline - now : 0))),
              "say `penstock confirm` or `penstock rollback` first");
}

static int run(const Invocation& in) {
  auto options = read_apply_options(in);
  if (!options) return in.out.fail(options.error());
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  auto running = observe(turn->instance);
  if (!running) return in.out.fail(running.error());
  const std::string wanted = in.argument("REVISION");
  if (running->transaction && wanted.empty()) {
    auto back = take_back(turn->instance);
    if (!back) return in.out.fail(back.error());
    in.out.json({{"revision", *back}, {"taken_back", running->transaction->to}});
    in.out.print(fmt::format("revision {} is taken back, {} runs\n", running->transaction->to, *back ? fmt::format("revision {}", *back) : "nothing"));
    return 0;
  }
  if (auto free = refuse_while_waiting(turn->instance); !free) return in.out.fail(free.error());
  uint64_t target = 0;
  if (!wanted.empty()) {
    target = std::stoull(wanted);
  } else {
    for (const Revision& r : Revisions(turn->instance).heads())
      if (r.status == RevisionStatus::confirmed && r.generation != running->state.generation) target = std::max(target, r.number);
    if (target == 0) return in.out.fail(Error(Diagnostic{"there is no earlier confirmed revision to go back to", {}, {}, "see `penstock history`"}));
  }
  auto prepared = prepare(turn->instance, {}, target);
  if (!prepared) return in.out.fail(prepared.error());
  return apply_prepared(in, turn->instance, *prepared, *options);
}

const Command command_rollback = {
    .name = "rollback",
    .summary = "go back to an earlier revision",
    .description =
        "While a change waits to be confirmed: takes it back at once. Otherwise applies REVISION anew, from the copy of the file and "
        "of its set files that was kept, or without REVISION the last confirmed one before the present.",
    .arguments = {{.name = "REVISION", .description = "a number of `penstock history`", .kind = Kind::number, .optional = true}},
    .options = apply_options(),
    .examples = {{"penstock rollback 3"}},
    .exits = {{Exit::done, "done"}, {Exit::failed, "nothing changed"}, {Exit::usage, "wrong usage"}, {Exit::risk, "a risk was found that --accept-risk does not name; nothing changed"}},
    .run = run,
};

}  // namespace penstock
