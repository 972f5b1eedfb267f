// penstock confirm
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

static int run(const Invocation& in) {
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  if (turn->settled.what == Settled::What::reverted) {
    Diagnostic d{fmt::format("too late: revision {} was taken back at its deadline", turn->settled.to)};
    d.hint = "apply it again, with a longer --confirm";
    return in.out.fail(Error(std::move(d), Exit::reverted));
  }
  auto revision = confirm(turn->instance);
  if (!revision) return in.out.fail(revision.error());
  in.out.json({{"revision", *revision}});
  in.out.print(fmt::format("revision {} is confirmed\n", *revision));
  return 0;
}

const Command command_confirm = {
    .name = "confirm",
    .summary = "keep the change that waits",
    .description = "Keeps the change that `penstock apply --confirm` made. Refused in the last two clock ticks before the deadline, and after it.",
    .examples = {{"penstock confirm"}},
    .exits = {{Exit::done, "confirmed"}, {Exit::failed, "nothing waits"}, {Exit::usage, "wrong usage"}, {Exit::reverted, "too late, the previous revision runs"}},
    .run = run,
};

}  // namespace penstock
