// VLAN devices: which device carries them, under which tag.
#pragma once
#include <cstdint>
#include <vector>

#include "core/base/result.h"

namespace penstock {

struct VlanDevice {
  uint32_t ifindex = 0;
  uint32_t parent = 0;     // ifindex; 0: in another namespace
  uint16_t id = 0;
  uint16_t protocol = 0;   // 0x8100 or 0x88a8, host order
};
Result<std::vector<VlanDevice>> vlan_devices();  // rtnetlink

}  // namespace penstock
