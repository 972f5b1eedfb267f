#include "app/bans.h"

#include "app/limits.h"
#include "core/kernel/bpf.h"
#include "core/plan/revisions.h"

namespace penstock {

Result<size_t> save_bans(const Instance& instance, const Running& running) {
  const uint64_t active = running.active(coarse_now());
  if (active == 0) return 0;
  TRY_ASSIGN(const Revision revision, Revisions(instance).read(active));
  TRY_ASSIGN(const LiveLimits live, LiveLimits::open(instance, active));
  std::vector<SavedBan> bans;
  for (const RuleLimit& rule : rule_limits(live, revision.slots))
    if (rule.limit.ban_lines != 0) collect_bans(live, rule.limit, rule.name, bans);
  TRY(write_bans(bans_path(instance), bans));
  return bans.size();
}

Result<PutBans> restore_bans(const Instance& instance, const std::vector<Slot>& slots, const Loaded& loaded) {
  PutBans out;
  const int table = loaded.map("limits"), lines = loaded.map("limit_lines");
  if (table < 0 || lines < 0) return out;
  TRY_ASSIGN(const std::vector<SavedBan> bans, read_bans(bans_path(instance)));
  if (bans.empty()) return out;
  TRY_ASSIGN(const LiveLimits live, LiveLimits::of_maps(table, lines));
  for (const RuleLimit& rule : rule_limits(live, slots)) {
    if (rule.limit.ban_lines == 0) continue;
    const PutBans done = put_saved_bans(live, rule.limit, rule.name, bans);
    out.put += done.put;
    out.refused += done.refused;
  }
  return out;
}

}  // namespace penstock
