// The WireGuard guard of one interface -> constants of its program.
#pragma once
#include <string>

#include "core/plan/slots.h"
#include "features/wireguard/config.h"
#include "features/wireguard/tables.h"

namespace penstock {

ps_wireguard_const compile_wireguard(const WireGuard& guard, const std::string& interface, SlotTable& slots);
std::string wireguard_text(const WireGuard& guard);  // all that the file says of it: "port 51820, 51821"

}  // namespace penstock
