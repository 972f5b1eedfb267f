#include "features/limits/compile.h"

#include <algorithm>

#include "core/net/address.h"

namespace penstock {
namespace {

constexpr uint32_t lines_step = 16'384;   // the map grows by as much, a MiB
constexpr uint64_t second = PS_TICKS(1'000'000'000ull);
// The coarse clock ticks 100 times a second at the least: a burst of less than two ticks' worth needs the precise one.
constexpr uint64_t precise_below = second / 50;

uint64_t ticks(std::chrono::milliseconds time) { return PS_TICKS(static_cast<uint64_t>(time.count()) * 1'000'000u); }

uint32_t flags_of(const Limit& limit) {
  switch (limit.per) {
    case LimitPer::source: return PS_LIMIT_SOURCE;
    case LimitPer::destination: return PS_LIMIT_DESTINATION;
    case LimitPer::source_destination: return PS_LIMIT_SOURCE | PS_LIMIT_DESTINATION;
    case LimitPer::flow: return PS_LIMIT_SOURCE | PS_LIMIT_DESTINATION | PS_LIMIT_FLOW;
    case LimitPer::rule: return 0;
  }
  return 0;
}

// See entries.h.  Half of the places for buckets: who finds none takes from its prefix's.  A third of them for bans, where that
// must not be.
uint32_t bucket_lines_for(uint32_t entries) { return (entries + 1) / 2; }
uint32_t ban_lines_for(uint32_t entries) { return (3 * entries + 3) / 4; }

uint32_t total_lines(const ps_limit& l) { return l.lanes + l.bucket_lines + l.share_lines + l.ban_lines; }

// Its own lines begin at `first`.
void place_at(ps_limit& l, uint32_t first) {
  l.counts = first;
  l.buckets = l.counts + l.lanes;
  l.shares = l.buckets + l.bucket_lines;
  l.bans = l.shares + l.share_lines;
}

constexpr uint32_t key_flags = PS_LIMIT_SOURCE | PS_LIMIT_DESTINATION | PS_LIMIT_FLOW;

}  // namespace

bool same_bans(const ps_limit& a, const ps_limit& b) {
  return a.id == b.id && (a.flags & key_flags) == (b.flags & key_flags) && a.mask4 == b.mask4 && a.mask6.hi == b.mask6.hi && a.mask6.lo == b.mask6.lo;
}

bool same_lines(const ps_limit& a, const ps_limit& b) {
  return same_bans(a, b) && a.lanes == b.lanes && a.bucket_lines == b.bucket_lines && a.share_lines == b.share_lines && a.ban_lines == b.ban_lines;
}

uint32_t LimitTable::add(const Limit& limit, bool within, uint32_t over, uint32_t banned, uint32_t id) {
  ps_limit out{};
  const bool bytes = limit.rate.counted == Counted::bytes;
  constexpr unsigned byte_shift = 16;
  out.each = limit.rate.each(bytes ? PS_TICKS_LOG + byte_shift : PS_TICKS_LOG);
  out.depth = static_cast<uint64_t>(static_cast<unsigned __int128>(limit.burst) * out.each >> (bytes ? byte_shift : 0));
  out.keep = std::clamp<uint64_t>(16 * out.depth, second, 300 * second);
  out.flags = flags_of(limit) | (bytes ? PS_LIMIT_BYTES : 0) | (out.depth < precise_below ? PS_LIMIT_PRECISE : 0) | (within ? PS_LIMIT_WITHIN : 0);
  const Address mask4 = Prefix::mask(96u + limit.length4), mask6 = Prefix::mask(limit.length6);
  out.mask4 = static_cast<uint32_t>(mask4.lo);
  out.mask6 = {mask6.hi, mask6.lo};
  out.share4 = limit.length4 > 24 ? 0xffffff00u : static_cast<uint32_t>(Prefix::mask(96u + std::min<unsigned>(limit.length4, 16)).lo);
  out.share6 = Prefix::mask(std::min<unsigned>(limit.length6, limit.length6 > 48 ? 48 : 32)).hi;
  out.id = id;
  out.slot[0] = over;
  out.slot[1] = banned;
  out.lanes = lanes_;
  out.bucket_lines = bucket_lines_for(limit.entries);
  out.share_lines = std::max(limit.entries / 32, 1u);
  if (limit.ban) {
    out.flags |= PS_LIMIT_BANS;
    out.ban = ticks(limit.ban->time);
    out.ban_most = ticks(limit.ban->max);
    out.ban_factor = limit.ban->factor;
    out.ban_lines = ban_lines_for(limit.entries);
  }
  limits_.push_back(out);
  return static_cast<uint32_t>(limits_.size() - 1);
}

void LimitTable::place() {
  if (limits_.empty()) return;
  struct Span {
    uint32_t first, end;
    auto operator<=>(const Span&) const = default;
  };
  std::vector<Span> taken = {{0, 1}};  // the head
  for (const ps_limit& l : known_.limits) taken.push_back({l.counts, l.counts + total_lines(l)});
  std::vector<ps_limit*> fresh;
  for (ps_limit& l : limits_) {
    const auto known = std::ranges::find_if(known_.limits, [&](const ps_limit& k) { return same_lines(k, l); });
    if (known == known_.limits.end())
      fresh.push_back(&l);
    else
      place_at(l, known->counts);
  }
  std::ranges::sort(taken);
  for (ps_limit* l : fresh) {
    uint32_t first = 0;
    for (const Span& span : taken) {
      if (span.first >= first + total_lines(*l)) break;
      first = std::max(first, span.end);
    }
    place_at(*l, first);
    taken.push_back({first, first + total_lines(*l)});
    std::ranges::sort(taken);
  }
  lines_ = std::max(known_.lines, (taken.back().end + lines_step - 1) / lines_step * lines_step);
}

uint32_t LimitTable::flags() const {
  uint32_t out = 0;
  for (const ps_limit& l : limits_) out |= l.flags;
  // Any bit tells that there are limits.
  return limits_.empty() ? 0 : out | 1u << 31;
}

}  // namespace penstock
