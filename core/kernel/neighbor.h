// Neighbours that the kernel keeps resolved by itself (NTF_EXT_MANAGED, 5.16), so that XDP always finds their MAC address.
#pragma once
#include <cstdint>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

Result<bool> neighbor_managed(uint32_t ifindex, const Address& address);
// An error where the kernel knows no managed neighbours.
Result<> manage_neighbor(uint32_t ifindex, const Address& address);
// The entry is removed; whoever needs it has it resolved again.  No error where there is none.
Result<> release_neighbor(uint32_t ifindex, const Address& address);

}  // namespace penstock
