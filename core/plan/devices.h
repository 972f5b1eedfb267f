// What the plan asks of the devices that it attaches to, and what it makes of the answers.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/kernel/device.h"
#include "core/kernel/xdp_features.h"
#include "core/plan/attachments.h"
#include "core/plan/settings.h"

namespace penstock {

struct DeviceFacts {
  DeviceInfo info;
  std::optional<XdpFeatures> xdp;     // empty: the kernel does not tell
  std::vector<TcProgram> tc;
  std::string stranger;               // an XDP program that is not this instance's, in words; empty: none
};
// A setting that is not in force yet, and how the plan speaks of it.
struct NeededSetting {
  Setting setting;
  std::string text;                   // "net.ipv4.conf.lo.forwarding 0 -> 1: so that ..."
};
struct Facts {
  std::map<uint32_t, DeviceFacts> devices;   // by ifindex
  std::vector<Setting> remembered;
  std::vector<std::string> needs;     // Setting::key() of what features need besides offloads, in force or not
  std::vector<NeededSetting> missing; // of these, those that are not
};
// Asks the kernel about every device of `wanted`.
Result<Facts> facts_of(const Instance& instance, const std::vector<Attachment>& wanted, const Running& running);

// "generic: driver tun offers no native XDP": the mode that attaching will lead to, as far as anybody knows before.
std::string mode_outlook(const Attachment& wanted, const DeviceFacts* facts);
// What to warn of before the attach; nothing where it will be as asked.
std::optional<Diagnostic> mode_warning(const Attachment& wanted, const DeviceFacts* facts, const Location& at);

// What must be switched off for XDP to see what arrives; `fixed` gets a warning for each that cannot be.
std::vector<Setting> needed_settings(const Device& device, const DeviceInfo& info, std::vector<Diagnostic>& fixed);

// Refused at `at` unless the device and all that the program does can run in hardware; nothing of penstock can today.
Result<> require_offload(const Attachment& wanted, const DeviceFacts* facts, const Location& at);

}  // namespace penstock
