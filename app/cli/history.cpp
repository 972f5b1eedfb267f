// penstock history
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

static int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  auto running = observe(*instance);
  if (!running) return in.out.fail(running.error());
  const uint64_t now = coarse_now();
  Json list = Json::array();
  std::string text;
  for (const Revision& r : Revisions(*instance).heads()) {
    std::string status = status_name(r.status);
    if (running->transaction && running->transaction->to == r.number && r.status == RevisionStatus::candidate)
      status = running->transaction->waiting(now) ? "waiting" : running->transaction->confirmed() ? "confirmed" : "reverted";
    const bool active = running->active(now) == r.generation && running->active(now) != 0;
    list.push_back({{"revision", r.number}, {"generation", r.generation}, {"status", status}, {"active", active}, {"created", r.created},
                    {"user", r.user}, {"file", r.source}, {"note", r.note}});
    text += fmt::format("{} {:>5}  {}  {:<9}  {:<10}  {}{}\n", active ? "*" : " ", r.number, time_text(r.created), status, r.user, r.source,
                        r.note.empty() ? "" : " (" + r.note + ")");
  }
  in.out.json({{"revisions", std::move(list)}});
  in.out.print(text.empty() ? "no revision yet: `penstock apply FILE` makes the first\n" : text);
  return 0;
}

const Command command_history = {
    .name = "history",
    .summary = "list the revisions that are kept",
    .description = "Lists the revisions that are kept, oldest first; `*` marks those that run.",
    .examples = {{"penstock history"}},
    .run = run,
};

}  // namespace penstock
