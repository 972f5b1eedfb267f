// The hit counters of the generations that are alive: whose they are, what they hold.
#pragma once
#include <optional>
#include <vector>

#include "core/base/fd.h"
#include "core/plan/instance.h"
#include "features/sets/hits.h"

namespace penstock::sets {

class LiveHits {
 public:
  // generations: the one that judges first; those without pins are left out.  The caller holds the lock to claim.
  static Result<LiveHits> open(const Instance& instance, const std::vector<uint64_t>& generations);

  bool any() const { return !views_.empty(); }                             // does any of them count elements?
  std::uint32_t find(std::uint32_t set, const Element& element) const;     // 0: nobody counts it
  // The id it has or gets: a place that is free in all of them, so that they agree.  SET_NO_COUNTER where none is left:
  // the next apply makes room.
  std::uint32_t claim(std::uint32_t set, const Element& element);
  std::uint64_t total(std::uint32_t id) const;                             // of all CPUs and generations
  // Forgets what was counted at places that `next` gives to others.
  void clear_reused(std::span<const set_hit_owner> next);
  std::vector<set_hit_owner> owners() const;                               // of the first that counts; empty without

 private:
  struct View {
    Mapping owners, hits;
    size_t places = 0;       // in each lane
    uint32_t hits_id = 0;    // generations mostly share the counters
    std::span<set_hit_owner> list() const { return {owners.as<set_hit_owner>(), places}; }
  };
  void clear(std::uint32_t id);
  std::vector<View> views_;
  std::optional<HitIndex> index_;
  std::uint32_t cursor_ = 1;
};

}  // namespace penstock::sets
