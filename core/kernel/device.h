// What a network device is and what else stands on it: driver, limits, offloads, tc programs.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/kernel/links.h"

namespace penstock {

// A feature of a device that takes something from what XDP sees: merged frames, or VLAN tags kept beside the frame.
struct Offload {
  std::string name;                   // as ethtool says it: "lro", "rx-gro-hw", "rx-vlan-offload", "rx-vlan-stag-hw-parse"
  bool on = false;
  bool fixed = false;                 // the driver does not let it be changed
  bool tags = false;                  // takes tags away; else merges frames
};

struct DeviceInfo {
  std::string driver;                 // "veth", "virtio_net"; empty where the device tells none (loopback, bridges)
  uint32_t mtu = 0;                   // bytes, without the link header
  bool up = false;
  std::vector<Offload> offloads;      // those that the device knows
  std::optional<uint32_t> channels;   // queues for receiving
};
// Tests name a driver in PENSTOCK_TAGS_STRIPPED_BY whose rx-vlan-offload is then believed to act.
Result<DeviceInfo> device_info(const Device& device);

// Switches an offload and checks that it is as wanted.  The link may reset.
Result<> set_offload(const Device& device, const std::string& name, bool on);

// tc programs on a device, in the order in which they run: tcx first, then clsact or ingress filters.
struct TcProgram {
  uint32_t id = 0;                    // 0: the kernel does not tell (an offloaded filter)
  std::string name;
  bool tcx = false;
  bool ingress = true;
};
Result<std::vector<TcProgram>> tc_programs(const Device& device);

// "tcx ingress: 12 `a`, then filter egress: 13 `b`"; empty where there is none.
std::string tc_order_text(const std::vector<TcProgram>& programs);

}  // namespace penstock
