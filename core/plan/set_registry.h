// Which sets the programs of an image look up, and by what index in the table `sets`.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/net/address.h"

namespace penstock {

// A set of the file by its name, or a nameless one: the prefixes that rules list themselves.
struct SetUse {
  std::string name;              // empty: nameless
  std::vector<Prefix> prefixes;  // of a nameless one: sorted, no duplicates
};

class SetRegistry {
 public:
  uint32_t named(const std::string& name) {
    const auto [entry, added] = named_.try_emplace(name, next());
    if (added) used_.push_back({name, {}});
    return entry->second;
  }
  // The same prefixes have the same index, in whatever order they were written.
  uint32_t nameless(std::vector<Prefix> prefixes) {
    std::ranges::sort(prefixes);
    prefixes.erase(std::ranges::unique(prefixes).begin(), prefixes.end());
    const auto [entry, added] = nameless_.try_emplace(prefixes, next());
    if (added) used_.push_back({{}, std::move(prefixes)});
    return entry->second;
  }
  // Named sets that count a hit of each element.
  void count_hits(const std::string& name) { counted_.insert(name); }
  bool counts_hits(const std::string& name) const { return counted_.contains(name); }
  const std::vector<SetUse>& used() const { return used_; }  // by index

 private:
  uint32_t next() const { return static_cast<uint32_t>(used_.size()); }
  std::map<std::string, uint32_t> named_;
  std::map<std::vector<Prefix>, uint32_t> nameless_;
  std::set<std::string> counted_;
  std::vector<SetUse> used_;
};

}  // namespace penstock
