// penstock settle
#include <nlohmann/json.hpp>
#include <thread>

#include "app/cli/change.h"

namespace penstock {
namespace {

const char* outcome(Settled::What what) {
  switch (what) {
    case Settled::What::finished: return "finished";
    case Settled::What::reverted: return "reverted";
    case Settled::What::undone: return "undone";
    case Settled::What::nothing: break;
  }
  return "nothing";
}

int run(const Invocation& in) {
  for (;;) {
    std::chrono::nanoseconds left{};
    {
      // Whoever waits here waits for an apply to end: its lock is no reason to give up.
      auto turn = take_turn(in, in.has("--wait") ? std::chrono::hours(1) : std::chrono::seconds(10));
      if (!turn) return in.out.fail(turn.error());
      auto running = observe(turn->instance);
      if (!running) return in.out.fail(running.error());
      const uint64_t now = coarse_now();
      if (!in.has("--wait") || !running->transaction || !running->transaction->waiting(now)) {
        in.out.json({{"outcome", outcome(turn->settled.what)}});
        return 0;
      }
      left = std::chrono::nanoseconds(running->transaction->deadline - now + 2 * coarse_tick());
    }
    std::this_thread::sleep_for(left);
  }
}

}  // namespace

const Command command_settle = {
    .name = "settle",
    .summary = "finish or undo what was cut off, and attach to devices that came back",
    .description =
        "Does what every changing command does first: finishes a confirmed change, undoes one whose deadline has passed or that was cut "
        "off, attaches to devices that were made again, and puts settings of devices back that are no longer needed. A change that waits "
        "to be confirmed is left waiting.",
    .options = {{.name = "--wait", .description = "wait until no change waits to be confirmed any more, and settle then"}},
    .examples = {{"penstock settle"}},
    .run = run,
};

}  // namespace penstock
