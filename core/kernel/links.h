// Attaching XDP programs to devices by bpf_link: pinned, updated in place, never over a stranger's program.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace penstock {

enum class XdpAttach { native, generic };
const char* attach_name(XdpAttach mode);

struct Device {
  uint32_t ifindex = 0;
  std::string name;
  bool ethernet = true;                           // frames have an Ethernet header; false: they begin with the IP header
};
std::vector<Device> list_devices();               // of this network namespace, loopback too, by ifindex
std::string device_name(uint32_t ifindex);        // empty where it is gone

// What is attached to a device's XDP hook, by anybody.
struct Attached {
  uint32_t program = 0;                           // id; 0: nothing
  XdpAttach mode = XdpAttach::native;
};
Result<Attached> query_xdp(uint32_t ifindex);

// A program that is not ours, in words: "program 12 `xdp_dispatcher`, pinned at /sys/fs/bpf/xdp/...".
std::string describe_program(uint32_t id);

// Says that a device's XDP hook is taken by a program that is not ours, and what to do.
Diagnostic stranger(const Device& device, uint32_t program);

// The driver's own words (extack) where it has any.  EBUSY names the program that is in the way.
Result<Fd> attach_xdp(const Device& device, int program, XdpAttach mode);

// At the tc ingress of the device, in front of what others have there and never in its place.  Needs tcx (6.6).
Result<Fd> attach_tcx(const Device& device, int program);

struct LinkInfo {
  uint32_t ifindex = 0;   // 0: the device is gone
  uint32_t program = 0;   // id
};
Result<LinkInfo> link_info(int link);
Result<> update_link(int link, int program);      // atomic: each packet meets the old or the new program
Result<> detach_link(int link);

}  // namespace penstock
