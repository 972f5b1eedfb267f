// What a network device is and what else stands on it: driver, limits, offloads, tc programs.  Reads only.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/kernel/links.h"

namespace penstock {

struct DeviceInfo {
  std::string driver;                 // "veth", "virtio_net"; empty where the device tells none (loopback, bridges)
  uint32_t mtu = 0;                   // bytes, without the link header
  bool up = false;
  bool ethernet = true;               // frames have an Ethernet header
  // Offloads that take something from what XDP sees; empty where the device does not know the feature.
  std::optional<bool> lro;            // large-receive-offload: merges frames
  std::optional<bool> gro_hw;         // rx-gro-hw: the same, with rules
  std::optional<bool> vlan_strip;     // rx-vlan-offload: takes tags away
  std::optional<uint32_t> channels;   // queues for receiving
};
Result<DeviceInfo> device_info(const Device& device);

// tc programs on a device, in the order in which they run: tcx first, then clsact or ingress filters.
struct TcProgram {
  uint32_t id = 0;                    // 0: the kernel does not tell (an offloaded filter)
  std::string name;
  bool tcx = false;
  bool ingress = true;
};
Result<std::vector<TcProgram>> tc_programs(const Device& device);

}  // namespace penstock
