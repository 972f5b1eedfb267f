// What rules with `count: per source` or `per destination` counted by address.
#pragma once
#include <cstdint>
#include <set>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct Talker {
  Address address;
  uint64_t packets = 0, bytes = 0;
};

// Of map `policy_talkers`, those counted in one of the slots, the most packets first.
Result<std::vector<Talker>> read_talkers(int map, const std::set<uint32_t>& slots);

// Deletes what was counted in slots that are not `known`: they are about to mean something else.
Result<> forget_talkers(int map, const std::set<uint32_t>& known);

}  // namespace penstock
