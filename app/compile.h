// Config -> Image.  Pure: no system call.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "core/plan/image.h"
#include "core/plan/revisions.h"
#include "core/kernel/tcp.h"
#include "features/limits/compile.h"
#include "features/services/compile.h"
#include "features/sets/compile.h"
#include "features/policy/tables.h"

namespace penstock {

// The sources of ICMP errors that an interface sends.
struct NodeAddresses {
  std::optional<Address> v4, v6;
};

// What earlier revisions gave out and still hold, and what the machine is like.
struct Known {
  std::vector<Slot> slots;
  KnownSets sets;
  KnownLimits limits;
  KnownServices services;
  size_t rule_entries = PS_RULES_MAX_may_goto;  // that one policy may have on this kernel
  std::map<std::string, NodeAddresses> addresses;  // by the file's interfaces
  TcpSettings tcp;
  std::map<std::string, uint32_t> mtu;             // by the file's interfaces, the least of their devices
};

Result<Image> compile(const Config& config, const Known& known = {});

}  // namespace penstock
