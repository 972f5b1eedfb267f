// The lines of limits in the kernel: how a generation takes them over from the one before.
#pragma once
#include <span>

#include "core/base/fd.h"
#include "core/plan/image.h"
#include "core/plan/instance.h"
#include "core/plan/loader.h"
#include "features/limits/compile.h"

namespace penstock {

// The limits of a generation and the map of their lines; empty where it has none, or of another layout.
struct LiveLimits {
  std::vector<ps_limit> limits;
  Mapping lines;
  uint32_t count = 0;                // of lines
  uint32_t map_id = 0;

  static Result<LiveLimits> open(const Instance& instance, uint64_t generation);
  // Of a program's maps `limits` and `limit_lines`, whoever made them.
  static Result<LiveLimits> of_maps(int limits, int lines);

  ps_limit_line* line(uint32_t number) const { return lines.as<ps_limit_line>() + number; }
  const ps_limit_head& head() const { return *lines.as<ps_limit_head>(); }
  std::span<ps_limit_line> bans(const ps_limit& limit) const { return {line(limit.bans), limit.ban_lines}; }
};

// What compile() has to know of generation `from`.
Result<KnownLimits> read_known_limits(const Instance& instance, uint64_t from);

// Can programs of this version use the map?  False: another version laid it out otherwise.
Result<bool> can_share_limits(int map);

// Gives a loaded candidate its lines, before the switch: new limits begin empty; where the map is a new one, what
// generation `from` has in its own is copied; a limit that only got another size keeps its bans.
Result<> take_over_limits(const Instance& instance, const Image& image, uint64_t from, const Loaded& loaded);

}  // namespace penstock
