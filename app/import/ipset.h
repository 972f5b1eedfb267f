// The members of ipsets, from what `ipset save` prints.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "app/import/import.h"

namespace penstock::foreign {

struct IpSet {
  std::string name;       // in the new file
  Ranges addresses;
  std::string reason;     // why its members cannot be said; empty: they can
  bool expires = false;   // some members had a lifetime, and have none in the new file
};
using IpSets = std::map<std::string, IpSet>;

Result<IpSets> read_ipsets(const std::vector<Source>& sources);

}  // namespace penstock::foreign
