// penstock apply
#include "app/cli/change.h"

namespace penstock {

// A change that waits must be decided before the next one is made.
Result<> refuse_while_waiting(const Instance& instance);

static int run(const Invocation& in) {
  auto options = read_apply_options(in);
  if (!options) return in.out.fail(options.error());
  auto turn = take_turn(in);
  if (!turn) return in.out.fail(turn.error());
  if (auto free = refuse_while_waiting(turn->instance); !free) return in.out.fail(free.error());
  // Never freed: thousands of rules one by one would take milliseconds, and the process ends with them.
  static auto& prepared = *new auto(prepare(turn->instance, in.argument("FILE")));
  if (!prepared) return in.out.fail(prepared.error());
  return apply_prepared(in, turn->instance, *prepared, *options);
}

const Command command_apply = {
    .name = "apply",
    .summary = "make a file what this node does, as one transaction",
    .description =
        "Compiles FILE, runs its tests, loads and verifies everything new, and only then switches all interfaces at one "
        "instant. If anything fails before that, nothing has changed.\n\n"
        "With --confirm, which is the default over SSH, the kernel itself goes back to the previous revision at the "
        "deadline, also if every process of penstock is dead and the session is gone, unless `penstock confirm` comes first.",
    .arguments = {{.name = "FILE", .description = "the node's file", .kind = Kind::path}},
    .options = apply_options(),
    .examples = {{"penstock apply --confirm 60s node.yaml", "try a change and be back in a minute if it cuts you off"}},
    .exits = {{Exit::done, "active, or active until confirmed"}, {Exit::failed, "nothing changed"}, {Exit::usage, "wrong usage"}, {Exit::risk, "a risk was found that --accept-risk does not name; nothing changed"}},
    .run = run,
};

}  // namespace penstock
