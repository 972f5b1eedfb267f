// The plainest node that judges by a set: what `listed` holds is dropped on interface "a" (device "dev"), all else passes.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "app/config.h"

namespace penstock {

inline Config drop_listed(std::vector<Prefix> prefixes, bool counters = false) {
  Config config;
  Interface interface;
  interface.name = "a";
  interface.match = {"dev"};
  config.interfaces.push_back(interface);
  Set set;
  set.name = "listed";
  set.counters = counters;
  std::ranges::sort(prefixes);
  set.prefixes = std::move(prefixes);
  config.sets.push_back(std::move(set));
  Rule rule;
  rule.name = "listed";
  rule.from.any = false;
  rule.from.sets = {"listed"};
  rule.action = Action::drop;
  Policy policy;
  policy.name = "p";
  policy.attach.push_back({"a", {}});
  policy.rules.push_back(std::move(rule));
  config.policies.push_back(std::move(policy));
  return config;
}

}  // namespace penstock
