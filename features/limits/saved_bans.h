// Bans on disk: what outlives a reboot.  The kernel's lines are the truth while it runs; `penstock save` writes them down.
// A header line, then one ban a line: rule, what of the address counts, wall-clock time of its end (ms since 1970), how often
// the address was banned.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/net/address.h"
#include "core/plan/instance.h"
#include "features/limits/state.h"

namespace penstock {

struct SavedBan {
  std::string rule;        // POLICY/RULE
  Prefix prefix;
  int64_t end = 0;         // wall clock, ms; in the past: only remembered
  uint32_t times = 0;
  bool operator==(const SavedBan&) const = default;
};

std::string bans_path(const Instance& instance);

// A file that is not there: none.  A damaged line is an error with its place.
Result<std::vector<SavedBan>> read_bans(const std::string& path);
// All of it or nothing, on the disk; no bans: the file is removed.
Result<> write_bans(const std::string& path, const std::vector<SavedBan>& bans);

// Appends the bans of a limit that run or are still remembered.
void collect_bans(const LiveLimits& live, const ps_limit& limit, const std::string& rule, std::vector<SavedBan>& out);

// Puts those of `bans` that are of `rule` and not forgotten into the limit's lines.
struct PutBans {
  size_t put = 0, refused = 0;  // refused: the table is full
};
PutBans put_saved_bans(const LiveLimits& live, const ps_limit& limit, const std::string& rule, const std::vector<SavedBan>& bans);

}  // namespace penstock
