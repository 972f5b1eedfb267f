// Limits -> the tables of features/limits/tables.h.  Pure.
#pragma once
#include <cstdint>
#include <vector>

#include "features/limits/config.h"
#include "features/limits/tables.h"

namespace penstock {

// What the running generation has, and the machine.
struct KnownLimits {
  std::vector<ps_limit> limits;
  uint32_t lines = 0;          // of its map `limit_lines`
};

// The limits of a file.  A limit has lines of its own in `limit_lines`; one that the running generation has, too, keeps its
// lines, and no other gets any that the running generation uses: so both can share the map.
class LimitTable {
 public:
  LimitTable(const KnownLimits& known, uint32_t lanes) : known_(known), lanes_(lanes) {}

  // Returns its index.  `within`: the rule matches what is within the rate.  `over`, `banned`: ps_rule.slot of a match;
  // `id`: a counter slot of the rule.
  uint32_t add(const Limit& limit, bool within, uint32_t over, uint32_t banned, uint32_t id);

  // Gives out the lines.  Call when all are added.
  void place();

  const std::vector<ps_limit>& limits() const { return limits_; }
  uint32_t lines() const { return lines_; }     // that the map must have; 0: nothing is limited
  uint32_t flags() const;                       // enum ps_limit_flags of any

 private:
  const KnownLimits& known_;
  uint32_t lanes_;
  std::vector<ps_limit> limits_;
  uint32_t lines_ = 0;
};

// Do both count by the same keys in the same number of lines?
bool same_lines(const ps_limit& a, const ps_limit& b);
// Do both ban the same kind of address?
bool same_bans(const ps_limit& a, const ps_limit& b);

}  // namespace penstock
