// receive: a backend takes the packets that a balancer encapsulated, without a tunnel device.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

enum class Decap { ipip, gue };

// Whose packets are stripped.
struct ReceiveFrom {
  bool any = false;                 // whoever sends them; else one of:
  std::vector<Prefix> prefixes;
  std::vector<std::string> sets;
};

struct Receive {
  std::vector<Decap> decap;         // never empty, no duplicates
  ReceiveFrom from;
  uint32_t gue_port = 0;            // UDP, host order
  std::vector<std::string> on;      // interfaces by the file's name; empty: all
  std::vector<Address> frontends;   // of the services that this node is a backend of: for `doctor`
  Location at;

  bool strips(Decap kind) const;
  bool stands_on(const std::string& interface) const;
};

}  // namespace penstock
