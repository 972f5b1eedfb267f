#include "features/wireguard/decode.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/types.h"
#include "features/wireguard/tables.h"

namespace penstock {
namespace {

bool check_guard(Decoder& d, const Node& node, WireGuard& guard) {
  if (guard.ports.empty()) return d.error(node, "the WireGuard guard has no port: its list is empty", "write `port: 51820`");
  if (guard.ports.size() > PS_WIREGUARD_PORTS)
    return d.error(node, fmt::format("{} ports, but a guard has at most {}", guard.ports.size(), PS_WIREGUARD_PORTS));
  std::ranges::sort(guard.ports);
  const auto twice = std::ranges::adjacent_find(guard.ports);
  if (twice != guard.ports.end()) return d.error(node, fmt::format("port {} stands twice in the list", *twice), "remove one of them");
  if (guard.handshakes && guard.handshakes->counted == Counted::bytes)
    return d.error(guard.handshakes_at, "handshakes are counted in packets, not in bytes", "write 20/s");
  return true;
}

Type<uint16_t> port_type() {
  const Type<uint32_t> number = number_type(1, 65535);
  return {number.shape, [decode = number.decode](Decoder& d, const Node& node, uint16_t& out) {
            uint32_t port = 0;
            if (!decode(d, node, port)) return false;
            out = static_cast<uint16_t>(port);
            return true;
          }};
}

Keys<WireGuard> keys() {
  return Keys<WireGuard>("guard", "UDP ports to which only real WireGuard passes.")
      .required("port", one_or_list_of(port_type()), &WireGuard::ports, {"The ports that WireGuard listens on.", "51820"})
      .optional("handshakes", rate_type(), &WireGuard::handshakes,
                {"How many handshakes a source may begin: what is over it is dropped. IPv6 sources count by their /64. Data is never limited.", "20/s"})
      .located(&WireGuard::handshakes_at)
      .check(check_guard);
}

}  // namespace

Extension wireguard_key() {
  return extension("wireguard", object_of(keys()),
                   {"Drops before any policy what arrives for these UDP ports and is no WireGuard message by type and length. "
                    "What passes is still judged by the policies. Of a message in fragments only the first can be looked at.",
                    "{ port: 51820 }"});
}

}  // namespace penstock
