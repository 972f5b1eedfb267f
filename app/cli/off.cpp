// penstock off
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

static int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  // Whoever wants everything off now must not wait for a stuck command: after a short patience it goes on without the lock.
  auto lock = Lock::take(*instance, std::chrono::seconds(2));
  if (!lock) in.out.warn(lock.error().diagnostics.front());
  auto removed = remove_all(*instance);
  if (!removed) return in.out.fail(removed.error());
  in.out.json({{"removed", *removed}});
  if (removed->empty()) in.out.print("nothing of penstock is attached\n");
  for (const std::string& line : *removed) in.out.print(line + "\n");
  return 0;
}

const Command command_off = {
    .name = "off",
    .summary = "detach everything of ours at once",
    .description =
        "Detaches every program of this instance and removes its pins, also when the file or the state is broken. Every packet passes "
        "from then on. Revisions are kept: `penstock rollback N`, `penstock restore` or `penstock apply` brings a node back, and so does penstock-restore.service at the next boot.",
    .examples = {{"penstock off"}},
    .run = run,
};

}  // namespace penstock
