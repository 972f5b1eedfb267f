// Bans as user space sees them: the same lines that programs look into, by the same functions (entries.h).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "core/net/address.h"
#include "features/limits/state.h"

namespace penstock {

struct LiveBan {
  Prefix prefix;            // what of the address counts
  uint64_t until = 0;       // ticks; in the past: only remembered
  uint32_t times = 0;       // how often it was banned; saturates at 4,095
};

// Every ban of the limit, those that ended too.
void each_ban(const LiveLimits& live, const ps_limit& limit, const std::function<void(const LiveBan&)>& tell);

// The ban on the address; nothing where there is none.
std::optional<LiveBan> find_ban(const LiveLimits& live, const ps_limit& limit, const Address& address);

// Bans the address, from now until `until` (ticks, and in the bits PS_BAN_COUNT how often it was banned before, or 0); a ban that
// runs gets this end.  False: there is no place.
bool put_ban(const LiveLimits& live, const ps_limit& limit, const Address& address, uint64_t now, uint64_t until);

// Ends the ban and forgets it.  False: there is none.
bool remove_ban(const LiveLimits& live, const ps_limit& limit, const Address& address);

uint64_t ticks_now();       // as programs compare

// What a limit counted and how full it is now.
struct LimitUse {
  ps_limit_counts counts{}; // of all CPUs
  uint64_t active = 0;      // keys with a bucket that is not full
  uint64_t banned = 0;      // now
};
LimitUse use_of(const LiveLimits& live, const ps_limit& limit);

}  // namespace penstock
