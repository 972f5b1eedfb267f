// sets: named lists of prefixes, inline or from a file, both families mixed.
#pragma once
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct Set {
  std::string name;
  Location at;
  std::string file;               // path as opened (relative paths start at node.yaml's folder); empty when inline
  Location file_at;               // of that path
  std::vector<Prefix> prefixes;   // sorted, no duplicates
  bool counters = false;          // count hits per element
};

}  // namespace penstock
