#include "features/limits/bans.h"

#include <time.h>

#include <bit>

#include "features/limits/entries.h"

namespace penstock {
namespace {

struct Place {
  ps_limit_line *one, *two;
  uint64_t key;
};

Place place_of(const LiveLimits& live, const ps_limit& limit, const Address& address) {
  const uint64_t hi = address.is_v4() ? 0 : address.hi & limit.mask6.hi;
  const uint64_t lo = address.is_v4() ? address.v4() & limit.mask4 : 0;
  const uint64_t key = limit_ban_key(address.is_v4(), hi, lo);
  const uint64_t hash = limit_hash_end(limit_hash_address(&live.head(), limit_hash_begin(&limit, &live.head()), address.is_v4(), hi, lo));
  return {live.line(limit.bans + limit_line_one(hash, limit.ban_lines)), live.line(limit.bans + limit_line_two(hash, limit.ban_lines)), key};
}

ps_limit_entry* entry_of(const Place& place) {
  ps_limit_entry* entry = limit_find(place.one, place.key, 0);
  return entry ? entry : limit_find(place.two, place.key, 0);
}

LiveBan ban_of(const ps_limit& limit, uint64_t key, uint64_t word) {
  const bool ipv4 = key >> 32 == PS_LIMIT_V4 >> 32;
  LiveBan out;
  out.prefix.address = ipv4 ? Address::v4(static_cast<uint32_t>(key)) : Address{key, 0};
  out.prefix.length = static_cast<uint8_t>(ipv4 ? 96 + std::popcount(limit.mask4) : std::popcount(limit.mask6.hi));
  out.until = word & ~PS_BAN_COUNT;
  out.times = static_cast<uint32_t>(word & PS_BAN_COUNT);
  return out;
}

uint64_t load(const __u64& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }

}  // namespace

void each_ban(const LiveLimits& live, const ps_limit& limit, const std::function<void(const LiveBan&)>& tell) {
  for (const ps_limit_line& line : live.bans(limit))
    for (const ps_limit_entry& entry : line.entry)
      if (const uint64_t key = load(entry.key), word = load(entry.word); key != 0 && word != 0) tell(ban_of(limit, key, word));
}

std::optional<LiveBan> find_ban(const LiveLimits& live, const ps_limit& limit, const Address& address) {
  if (limit.ban_lines == 0) return std::nullopt;
  const Place place = place_of(live, limit, address);
  const ps_limit_entry* entry = entry_of(place);
  return entry && load(entry->word) != 0 ? std::optional(ban_of(limit, place.key, load(entry->word))) : std::nullopt;
}

bool put_ban(const LiveLimits& live, const ps_limit& limit, const Address& address, uint64_t now, uint64_t until) {
  if (limit.ban_lines == 0) return false;
  const Place place = place_of(live, limit, address);
  ps_limit_entry* entry = entry_of(place);
  __u64 before = 0, count = 0;
  if (entry) {
    count = load(entry->word) & PS_BAN_COUNT;
  } else {
    entry = limit_claim(place.one, place.two, place.key, now, ~0ull, limit.ban_most, &before);
    if (!entry) entry = limit_claim(place.one, place.two, place.key, now, 0, 0, &before);
    if (!entry) return false;
  }
  if (count < PS_BAN_COUNT) ++count;
  if (const __u64 given = until & PS_BAN_COUNT; given > count) count = given;  // taken over, with its past
  __atomic_store_n(&entry->word, (until & ~PS_BAN_COUNT) | count, __ATOMIC_RELEASE);
  return true;
}

bool remove_ban(const LiveLimits& live, const ps_limit& limit, const Address& address) {
  bool found = false;
  if (limit.ban_lines == 0) return false;
  const Place place = place_of(live, limit, address);
  // Two CPUs at once may have made two.
  while (ps_limit_entry* entry = entry_of(place)) {
    if (load(entry->word) > ticks_now()) found = true;
    __atomic_store_n(&entry->word, 0, __ATOMIC_RELEASE);
    if (limit_swap(&entry->key, place.key, 0) != place.key) break;
  }
  return found;
}

uint64_t ticks_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return PS_TICKS(static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec));
}

LimitUse use_of(const LiveLimits& live, const ps_limit& limit) {
  LimitUse out;
  const uint64_t now = ticks_now();
  for (uint32_t lane = 0; lane < limit.lanes; ++lane) {
    const auto& counts = *reinterpret_cast<const ps_limit_counts*>(live.line(limit.counts + lane));
    out.counts.evicted += counts.evicted;
    out.counts.shared += counts.shared;
    out.counts.banned += counts.banned;
    out.counts.refused += counts.refused;
  }
  const auto busy = [&](uint32_t first, uint32_t lines) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < lines; ++i)
      for (const ps_limit_entry& entry : live.line(first + i)->entry) count += load(entry.word) > now;
    return count;
  };
  out.active = busy(limit.buckets, limit.bucket_lines);
  out.banned = busy(limit.bans, limit.ban_lines);
  return out;
}

}  // namespace penstock
