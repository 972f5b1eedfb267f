// What this network namespace knows of the way to others: routes, routers, own addresses, devices on top of devices.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct Route {
  uint32_t ifindex = 0;   // the device it leaves by
  Address next_hop;       // the gateway, or the destination where it is on the link
  Address source;         // the own address that the host would use; all zero where the kernel names none
};
// rtnetlink.  Nothing where no route leads there; an error where the kernel could not be asked.
Result<std::optional<Route>> route_to(const Address& destination);

struct Router {
  uint32_t ifindex = 0;
  Address address;        // a gateway of the main tables, IPv4 or IPv6
};
Result<std::vector<Router>> routers();

struct OwnAddress {
  uint32_t ifindex = 0;
  Address address;
  unsigned length = 128;  // of the network's prefix, of the 128 bits
  bool leased = false;    // it has a lifetime: from DHCP or a router's advertisement
};
Result<std::vector<OwnAddress>> own_addresses();  // rtnetlink, loopback too

// For each device those that carry it, at any depth, itself among them: the ports of a bridge or bond, the device below a
// VLAN.  What arrives for the upper device arrives on one of these.
using Carriers = std::map<uint32_t, std::set<uint32_t>>;
Result<Carriers> device_carriers();

}  // namespace penstock
