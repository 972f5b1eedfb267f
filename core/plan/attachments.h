// Making the links of an instance exactly what they should be.
#pragma once
#include <string>
#include <vector>

#include "core/kernel/links.h"
#include "core/plan/image.h"
#include "core/plan/instance.h"
#include "core/plan/running.h"

namespace penstock {

// A device and the hook (index into Image::hooks) that judges what arrives on it.
struct Attachment {
  Device device;
  size_t hook = 0;
  std::string mode;  // as the file asks: auto, native, generic, offload
};

// Whether a pattern of the hook names the device, whatever its frames look like.
bool claims(const HookImage& hook, const Device& device);

// Appends a twin for frames without an Ethernet header to each hook that claims a device with such frames.  A hook that
// had one before (of the revision that runs) keeps it: a tunnel that goes away is no change of the node.
void add_raw_hooks(std::vector<HookImage>& hooks, const std::vector<Device>& devices, const std::vector<HookImage>& before);

// Which of `devices` the hooks match, each with a hook for its kind of frames.  An error where two hooks claim one device.
Result<std::vector<Attachment>> attachments_of(const std::vector<HookImage>& hooks, const std::vector<Device>& devices);

// A program to be attached to a device.
struct Wanted {
  Device device;
  int program = -1;  // descriptor
  std::string mode;
  int tc = -1;        // descriptor of what stands at the tc ingress behind it; -1: nothing
};

// What a device means that has no link yet and cannot be attached.
enum class AttachFailure { fatal, warning };

// Behind the XDP links, those at the tc ingress: there before the XDP program that needs them, and gone after it.
//
// Replaces the programs of existing links in place, attaches what is missing, detaches what is not wanted, forgets links
// whose device is gone.  Where a failure is fatal, strangers' programs are looked for before anything is touched.
// Warnings: a device that fell back to generic XDP.
Result<std::vector<Diagnostic>> attach_wanted(const Instance& instance, const std::vector<Wanted>& wanted, AttachFailure on_failure = AttachFailure::fatal);

std::string link_pin(const Instance& instance, uint32_t ifindex);

// Whether a link that runs in `mode` is what the file asks for.
bool mode_satisfies(const std::string& asked, XdpAttach mode);

}  // namespace penstock
