// sets: named lists of prefixes, inline or from a file, both families mixed; and named lists of ports.
#pragma once
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"
#include "core/net/number_range.h"

namespace penstock {

struct Set {
  std::string name;
  Location at;
  std::string file;               // its path (relative paths start at the folder of node.yaml); empty when inline
  std::string read_from;          // where it was read: the path, or the copy that a kept revision holds
  Location file_at;               // of that path
  std::vector<Prefix> prefixes;   // sorted, no duplicates
  bool counters = false;          // count hits per element
  std::vector<NumberRange> ports; // of a set of ports: merged; it has no prefixes then
  bool of_ports() const { return !ports.empty(); }
};

}  // namespace penstock
