#include "features/limits/state.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "core/kernel/bpf.h"
#include "features/limits/bans.h"

namespace penstock {
namespace {

std::vector<ps_limit> limits_of(const Image& image) {
  for (const TableImage& table : image.tables) {
    if (table.map != "limits") continue;
    std::vector<ps_limit> out(table.data.size() / sizeof(ps_limit));
    std::memcpy(out.data(), table.data.data(), out.size() * sizeof(ps_limit));
    return out;
  }
  return {};
}

uint64_t random_word() {
  static std::random_device source;
  return uint64_t{source()} << 32 | source();
}

// The lines of the limit lie behind each other.
std::span<ps_limit_line> all_lines(const LiveLimits& live, const ps_limit& l) {
  return {live.line(l.counts), l.lanes + l.bucket_lines + l.share_lines + l.ban_lines};
}

}  // namespace

Result<LiveLimits> LiveLimits::open(const Instance& instance, uint64_t generation) {
  if (generation == 0) return LiveLimits{};
  auto table = open_pin(instance.generation(generation) + "/limits");
  auto lines = open_pin(instance.generation(generation) + "/limit_lines");
  if (!table || !lines) return LiveLimits{};  // it limits nothing
  TRY_ASSIGN(const bool ours, can_share_limits(lines->get()));
  return ours ? of_maps(table->get(), lines->get()) : LiveLimits{};
}

Result<LiveLimits> LiveLimits::of_maps(int table, int lines) {
  LiveLimits out;
  TRY_ASSIGN(const bpf_map_info info, map_info(table));
  if (info.value_size != sizeof(ps_limit)) return out;
  TRY_ASSIGN(const Mapping memory, map_memory(table));
  out.limits.assign(memory.as<ps_limit>(), memory.as<ps_limit>() + info.max_entries);
  TRY_ASSIGN(const bpf_map_info lines_info, map_info(lines));
  TRY_ASSIGN(out.lines, map_memory(lines));
  out.count = lines_info.max_entries;
  out.map_id = lines_info.id;
  // A table that disagrees with its map is none of ours.
  std::erase_if(out.limits, [&](const ps_limit& l) { return uint64_t{l.bans} + l.ban_lines > out.count || l.bucket_lines == 0; });
  return out;
}

Result<KnownLimits> read_known_limits(const Instance& instance, uint64_t from) {
  TRY_ASSIGN(LiveLimits live, LiveLimits::open(instance, from));
  return KnownLimits{std::move(live.limits), live.count};
}

Result<bool> can_share_limits(int map) {
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  if (info.value_size != sizeof(ps_limit_line)) return false;
  TRY_ASSIGN(const Mapping memory, map_memory(map));
  return memory.as<ps_limit_head>()->layout == PS_LIMIT_LAYOUT;
}

Result<> take_over_limits(const Instance& instance, const Image& image, uint64_t from, const Loaded& loaded) {
  const int map = loaded.map("limit_lines");
  if (map < 0) return {};
  LiveLimits next;
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  TRY_ASSIGN(next.lines, map_memory(map));
  next.count = info.max_entries;
  next.limits = limits_of(image);
  TRY_ASSIGN(const LiveLimits before, LiveLimits::open(instance, from));
  auto* const head = next.lines.as<ps_limit_head>();
  if (head->layout == 0) {
    if (before.count != 0)
      std::memcpy(next.lines.as<char>(), before.lines.as<char>(), sizeof(ps_limit_line) * std::min(before.count, next.count));
    else
      *head = {PS_LIMIT_LAYOUT, random_word(), {random_word(), random_word()}, {}};
  }
  const uint64_t now = ticks_now();
  for (const ps_limit& limit : next.limits) {
    if (std::ranges::any_of(before.limits, [&](const ps_limit& b) { return same_lines(b, limit); })) continue;
    const auto lines = all_lines(next, limit);
    std::memset(lines.data(), 0, lines.size_bytes());  // of a limit that is long gone; nobody looks there yet
    const auto same = std::ranges::find_if(before.limits, [&](const ps_limit& b) { return same_bans(b, limit); });
    if (same == before.limits.end() || limit.ban_lines == 0) continue;
    each_ban(before, *same, [&](const LiveBan& ban) {
      if (ban.until > now) put_ban(next, limit, ban.prefix.address, now, ban.until | ban.times);
    });
  }
  return {};
}

}  // namespace penstock
