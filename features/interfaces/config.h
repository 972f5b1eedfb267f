// interfaces: which devices take part, and how programs are attached to them.
#pragma once
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/extensions.h"

namespace penstock {

enum class XdpMode { automatic, native, generic, offload };
enum class Malformed { drop, pass };

struct Interface {
  std::string name;                 // as the file calls it, "wan"
  Location at;
  std::vector<std::string> match;   // device names or shell patterns ("eth0", "eth*"), never empty
  Location match_at;
  XdpMode xdp = XdpMode::automatic;
  Location xdp_at;
  Malformed malformed = Malformed::drop;
  Extensions extensions;            // what other features' keys say of this interface, by type
};

bool matches(const Interface& interface, const std::string& device);  // fnmatch(3) over every pattern

}  // namespace penstock
