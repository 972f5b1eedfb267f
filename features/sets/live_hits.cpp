#include "features/sets/live_hits.h"

#include <algorithm>

#include "core/kernel/bpf.h"
#include "core/plan/loader.h"

namespace penstock::sets {

Result<LiveHits> LiveHits::open(const Instance& instance, const std::vector<uint64_t>& generations) {
  LiveHits out;
  for (const uint64_t generation : generations) {
    auto owners = open_pin(instance.generation(generation) + "/set_hit_owners");
    auto hits = open_pin(instance.generation(generation) + "/set_hits");
    if (!owners || !hits) continue;  // a generation without sets
    TRY_ASSIGN(const bpf_map_info owners_info, map_info(owners->get()));
    TRY_ASSIGN(const bpf_map_info hits_info, map_info(hits->get()));
    View view;
    view.places = std::min<size_t>(owners_info.max_entries, hits_info.max_entries / counter_lanes());
    view.hits_id = hits_info.id;
    if (view.places < 2) continue;   // place 0 is nobody's: nothing is counted
    TRY_ASSIGN(view.owners, map_memory(owners->get()));
    TRY_ASSIGN(view.hits, map_memory(hits->get()));
    out.views_.push_back(std::move(view));
  }
  if (out.any()) out.index_.emplace(out.views_.front().list());
  return out;
}

std::uint32_t LiveHits::find(std::uint32_t set, const Element& element) const { return index_ ? index_->find(set, element) : 0; }

std::uint32_t LiveHits::claim(std::uint32_t set, const Element& element) {
  if (const std::uint32_t id = find(set, element); id != 0) {
    for (const View& v : views_)
      if (id < v.places) v.list()[id].age = 0;
    return id;
  }
  const auto usable = [&](std::uint32_t id) {
    return std::ranges::all_of(views_, [&](const View& v) { return id < v.places && (v.list()[id].set == 0 || v.list()[id].age > 0); });
  };
  for (; any() && cursor_ < views_.front().places; ++cursor_) {
    if (!usable(cursor_)) continue;
    clear(cursor_);
    for (const View& v : views_) v.list()[cursor_] = owner_of(set, element);
    return cursor_++;
  }
  return SET_NO_COUNTER;
}

std::uint64_t LiveHits::total(std::uint32_t id) const {
  std::uint64_t sum = 0;
  std::vector<uint32_t> seen;
  for (const View& v : views_) {
    if (id >= v.places || std::ranges::find(seen, v.hits_id) != seen.end()) continue;
    seen.push_back(v.hits_id);
    for (unsigned lane = 0; lane < counter_lanes(); ++lane) sum += v.hits.as<uint64_t>()[lane * v.places + id];
  }
  return sum;
}

void LiveHits::clear(std::uint32_t id) {
  for (const View& v : views_)
    for (unsigned lane = 0; lane < counter_lanes(); ++lane)
      if (uint64_t& hits = v.hits.as<uint64_t>()[lane * v.places + id]; hits != 0) hits = 0;
}

void LiveHits::clear_reused(std::span<const set_hit_owner> next) {
  if (!any()) return;
  const auto now = views_.front().list();
  for (std::uint32_t id = 1; id < std::min(now.size(), next.size()); ++id)
    if (next[id].set != 0 && !same_owner(now[id], next[id])) clear(id);
}

std::vector<set_hit_owner> LiveHits::owners() const {
  if (!any()) return {};
  const auto list = views_.front().list();
  return {list.begin(), list.end()};
}

}  // namespace penstock::sets
