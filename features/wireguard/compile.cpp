#include "features/wireguard/compile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace penstock {

ps_wireguard_const compile_wireguard(const WireGuard& guard, const std::string& interface, SlotTable& slots, const HandshakeLimit& limit_of) {
  ps_wireguard_const out{};
  out.ports = static_cast<uint32_t>(guard.ports.size());
  std::ranges::copy(guard.ports, out.port);
  out.slot_invalid = slots.intern({0, interface, {}, {}, PS_DROP, PS_REASON_NOT_WIREGUARD, guard.at});
  if (guard.handshakes) {
    out.limited = 1;
    out.limit = limit_of(guard, slots.intern({0, interface, {}, {}, PS_DROP, PS_REASON_RATE_LIMITED, guard.handshakes_at}));
  }
  return out;
}

std::string wireguard_text(const WireGuard& guard) {
  return fmt::format("port {}{}", fmt::join(guard.ports, ", "), guard.handshakes ? ", handshakes " + rate_text(*guard.handshakes) : "");
}

}  // namespace penstock
