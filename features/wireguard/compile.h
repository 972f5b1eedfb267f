// The WireGuard guard of one interface -> constants of its program.
#pragma once
#include <functional>
#include <string>

#include "core/plan/slots.h"
#include "features/wireguard/config.h"
#include "features/wireguard/tables.h"

namespace penstock {

// Makes the limit of the guard's `handshakes`, whose match is counted in `slot`, and returns its index in map `limits`.
using HandshakeLimit = std::function<uint32_t(const WireGuard& guard, uint32_t slot)>;
ps_wireguard_const compile_wireguard(const WireGuard& guard, const std::string& interface, SlotTable& slots, const HandshakeLimit& limit_of);
std::string wireguard_text(const WireGuard& guard);  // all that the file says of it: "port 51820, 51821"

}  // namespace penstock
