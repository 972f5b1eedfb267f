// What a driver says of its XDP, before anything is attached.
#pragma once
#include <optional>

#include "core/kernel/links.h"

namespace penstock {

// Of the kernel's netdev family (6.3 and later): NETDEV_A_DEV_XDP_FEATURES.
struct XdpFeatures {
  bool native = false;     // programs run in the driver
  bool redirect = false;   // and may redirect
  bool transmit = false;   // the device takes frames that others redirect to it
  bool fragments = false;  // frames in several pieces reach programs (large MTU)
  bool hardware = false;   // programs can be offloaded to the device
};

// Nothing where the kernel does not tell: it is too old, or the device is gone.
std::optional<XdpFeatures> xdp_features(const Device& device);

}  // namespace penstock
