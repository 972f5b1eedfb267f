// penstock save
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

static int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  auto running = observe(*instance);
  if (!running) return in.out.fail(running.error());
  size_t bans = 0;
  if (running->present) {
    const auto lock = Lock::take(*instance, std::chrono::seconds(10));
    if (!lock) return in.out.fail(lock.error());
    running = observe(*instance);
    if (!running) return in.out.fail(running.error());
    const auto saved = save_bans(*instance, *running);
    if (!saved) return in.out.fail(saved.error());
    bans = *saved;
  }
  in.out.json({{"bans", bans}});
  in.out.print(fmt::format("{} ban{} saved\n", count_text(bans), bans == 1 ? "" : "s"));
  return 0;
}

const Command command_save = {
    .name = "save",
    .summary = "write down what only the kernel knows, for the next boot",
    .description =
        "Writes the bans of rules with a limit to the state directory, with the wall-clock time of their ends; `penstock restore`, or the first apply after a "
        "boot, puts them back. penstock-save.timer says it every few minutes, penstock-restore.service at shutdown. Run-time elements of sets need "
        "none of this: each change of them is on the disk before it is in the kernel. Where nothing runs, what is saved stays.",
    .examples = {{"penstock save"}},
    .run = run,
};

}  // namespace penstock
