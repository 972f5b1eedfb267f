// Which way this host sends to an address.
#pragma once
#include <cstdint>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct Route {
  uint32_t ifindex = 0;   // the device it leaves by
  Address source;         // the own address that the host would use
};
Result<Route> route_to(const Address& destination);  // rtnetlink; an error where there is no route

}  // namespace penstock
