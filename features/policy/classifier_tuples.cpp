#include "features/policy/classifier_tuples.h"

#include <algorithm>
#include <array>
#include <map>
#include <queue>
#include <unordered_map>

namespace penstock {
namespace {

bool exact(const ClassifierKey& key, int side) { return key.port_first[side] == key.port_last[side]; }

TupleMask mask_of(const ClassifierKey& key) {
  return {{key.length[0], key.length[1]}, {exact(key, 0), exact(key, 1)}, key.has_proto};
}

// What both masks look at.
TupleMask meet(const TupleMask& a, const TupleMask& b) {
  return {{std::min(a.length[0], b.length[0]), std::min(a.length[1], b.length[1])},
          {(a.port[0] & b.port[0]) != 0, (a.port[1] & b.port[1]) != 0},
          (a.proto & b.proto) != 0};
}

// How much less a mask tells after it was coarsened to `to`, which it implies: in bits, ports and protocol at what they commonly tell.
uint32_t loss(const TupleMask& from, const TupleMask& to) {
  uint32_t bits = 0;
  for (int side = 0; side < 2; ++side) {
    bits += from.length[side] - to.length[side];
    bits += 8u * (from.port[side] - to.port[side]);
  }
  return bits + 2u * (from.proto - to.proto);
}

// A group while it is being merged: how many of its entries have each hash.
struct Group {
  std::vector<uint32_t> entries;
  std::unordered_map<uint64_t, uint32_t> keys;
};

// What is asked of every group again and again, and therefore kept side by side.
struct Head {
  TupleMask mask;
  size_t entries = 0;  // 0: the group is gone
};

class Merger {
 public:
  explicit Merger(std::span<const ClassifierKey> keys) : keys_(keys) {}

  // The label holds apart what could be merged without loss of hashing: entries of different ranges of ports.
  void add(uint32_t entry, const TupleMask& mask, uint64_t label) {
    const auto [at, fresh] = index_.try_emplace({mask, label}, groups_.size());
    if (fresh) {
      heads_.push_back({mask});
      groups_.emplace_back();
    }
    ++heads_[at->second].entries;
    groups_[at->second].entries.push_back(entry);
  }

  // Merges the smallest group into the one where it does least harm, until `limit` remain.
  void merge(size_t limit) {
    if (groups_.size() <= limit) return;
    for (size_t i = 0; i < groups_.size(); ++i) rehash(i);
    using Place = std::pair<size_t, size_t>;  // entries, index
    std::priority_queue<Place, std::vector<Place>, std::greater<>> smallest;
    for (size_t i = 0; i < groups_.size(); ++i) smallest.emplace(heads_[i].entries, i);
    for (size_t left = groups_.size(); left > limit;) {
      const auto [size, index] = smallest.top();
      smallest.pop();
      if (heads_[index].entries != size) continue;
      const size_t into = best_partner(index);
      join(index, into);
      smallest.emplace(heads_[into].entries, into);
      --left;
    }
  }

  std::vector<TupleGroup> take() {
    std::vector<TupleGroup> out;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (heads_[i].entries == 0) continue;
      std::ranges::sort(groups_[i].entries);
      out.push_back({heads_[i].mask, std::move(groups_[i].entries)});
    }
    return out;
  }

 private:
  void rehash(size_t index) {
    Group& g = groups_[index];
    const ps_class_tuple masks = heads_[index].mask.masks();
    g.keys.clear();
    for (const uint32_t entry : g.entries) ++g.keys[tuple_hash(masks, keys_[entry])];
  }

  // The exact harm, entries that would share a chain, is counted for the few partners that lose least.
  size_t best_partner(size_t index) {
    const Head small = heads_[index];
    constexpr size_t tried = 12;
    std::array<std::pair<uint64_t, size_t>, tried + 1> best;
    size_t known = 0;
    for (size_t i = 0; i < heads_.size(); ++i) {
      const Head& other = heads_[i];
      if (i == index || other.entries == 0) continue;
      const TupleMask mask = meet(small.mask, other.mask);
      const uint64_t cost = loss(small.mask, mask) * small.entries + loss(other.mask, mask) * other.entries;
      if (known == tried && cost >= best[known - 1].first) continue;
      size_t at = known < tried ? known++ : tried - 1;
      for (; at > 0 && best[at - 1].first > cost; --at) best[at] = best[at - 1];
      best[at] = {cost, i};
    }
    size_t choice = best[0].second;
    uint64_t least = ~0ull;
    for (size_t k = 0; k < known; ++k) {
      const uint64_t harm = collisions(index, best[k].second) * 16 + best[k].first;
      if (harm < least) {
        least = harm;
        choice = best[k].second;
      }
    }
    return choice;
  }

  uint64_t collisions(size_t index, size_t into) const {
    const Group &a = groups_[index], &b = groups_[into];
    const TupleMask mask = meet(heads_[index].mask, heads_[into].mask);
    const ps_class_tuple masks = mask.masks();
    uint64_t sum = 0;
    std::unordered_map<uint64_t, uint32_t> fresh;
    const bool rekeyed = mask != heads_[into].mask;
    if (rekeyed)
      for (const uint32_t entry : b.entries) sum += fresh[tuple_hash(masks, keys_[entry])]++;
    for (const uint32_t entry : a.entries) {
      const uint64_t hash = tuple_hash(masks, keys_[entry]);
      if (!rekeyed)
        if (const auto at = b.keys.find(hash); at != b.keys.end()) sum += at->second;
      sum += fresh[hash]++;
    }
    return sum;
  }

  void join(size_t index, size_t into_index) {
    Group &from = groups_[index], &into = groups_[into_index];
    Head& head = heads_[into_index];
    const TupleMask mask = meet(heads_[index].mask, head.mask);
    into.entries.insert(into.entries.end(), from.entries.begin(), from.entries.end());
    head.entries = into.entries.size();
    if (mask != head.mask) {
      head.mask = mask;
      rehash(into_index);
    } else {
      const ps_class_tuple masks = mask.masks();
      for (const uint32_t entry : from.entries) ++into.keys[tuple_hash(masks, keys_[entry])];
    }
    from = Group{};
    heads_[index].entries = 0;
  }

  std::span<const ClassifierKey> keys_;
  std::vector<Group> groups_;
  std::vector<Head> heads_;   // of the groups
  std::map<std::pair<TupleMask, uint64_t>, size_t> index_;
};

uint64_t range_label(const ClassifierKey& key) {
  uint64_t label = 0;
  for (int side = 0; side < 2; ++side) {
    const bool range = !exact(key, side);
    label = label << 32 | (range ? key.port_first[side] << 16 | key.port_last[side] : 0u);
  }
  return label;
}

}  // namespace

ps_class_tuple TupleMask::masks() const {
  ps_class_tuple out{};
  for (int side = 0; side < 2; ++side) {
    const Address mask = Prefix::mask(length[side]);
    out.mask[2 * side] = mask.hi;
    out.mask[2 * side + 1] = mask.lo;
  }
  out.rest = (port[PS_SOURCE] ? 0xffffull << 24 : 0) | (port[PS_DESTINATION] ? 0xffffull << 8 : 0) | (proto ? 0xff : 0);
  return out;
}

uint64_t tuple_hash(const ps_class_tuple& t, const ClassifierKey& key) {
  const uint64_t rest = static_cast<uint64_t>(key.port_first[PS_SOURCE]) << 24 |
                        static_cast<uint64_t>(key.port_first[PS_DESTINATION]) << 8 | key.proto;
  return t.seed + (key.address[PS_SOURCE].hi & t.mask[0]) * PS_HASH_0 +
         (key.address[PS_SOURCE].lo & t.mask[1]) * PS_HASH_1 +
         (key.address[PS_DESTINATION].hi & t.mask[2]) * PS_HASH_2 +
         (key.address[PS_DESTINATION].lo & t.mask[3]) * PS_HASH_3 + (rest & t.rest) * PS_HASH_4;
}

std::vector<TupleGroup> choose_tuples(std::span<const ClassifierKey> keys) {
  // Ranges of ports have tuples of their own while there are few: a vector then tells whether the port is in range.
  std::map<std::pair<TupleMask, uint64_t>, uint32_t> fine;
  constexpr size_t fine_max = 4 * PS_TUPLES_MAX;
  for (const ClassifierKey& key : keys) {
    ++fine[{mask_of(key), range_label(key)}];
    if (fine.size() > fine_max) break;
  }
  Merger merger(keys);
  for (uint32_t i = 0; i < keys.size(); ++i)
    merger.add(i, mask_of(keys[i]), fine.size() > fine_max ? 0 : range_label(keys[i]));
  merger.merge(PS_TUPLES_MAX);
  return merger.take();
}

}  // namespace penstock
