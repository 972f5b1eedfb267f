// The key `wireguard` of an interface.
#pragma once
#include "core/config/descriptors.h"
#include "features/wireguard/config.h"

namespace penstock {

Extension wireguard_key();  // sets a WireGuard

}  // namespace penstock
