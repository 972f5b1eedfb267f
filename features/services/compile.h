// Services -> the tables of features/services/tables.h.  Pure.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/plan/image.h"
#include "core/plan/set_registry.h"
#include "features/services/config.h"
#include "features/services/nat_tables.h"

namespace penstock {

// What outlives generations, and the machine.
struct KnownServices {
  std::vector<BackendImage> backends;                // ids given out and still held
  std::map<Address, Address> sources;                // by a backend's address, the own address that the host would send from
};

struct ServiceTables {
  std::vector<TableImage> tables;
  std::map<std::string, uint32_t> sizes;             // Image::sizes
  std::vector<BackendImage> backends;
  ps_service_const constants{};                      // the same for all hooks; all zero: no services
  ps_nat_const nat{};                                // likewise; all zero: nothing is translated
};

// `interfaces`: in the order of the file.
ServiceTables compile_services(const std::vector<Service>& services, const Flows& flows, const std::vector<std::string>& interfaces, const KnownServices& known, SetRegistry& sets, SlotTable& slots);

// The ring of a service, always of the same size: ids of backends that take new connections, by scheduler and weight.
// `ids`: of its backends, in the order of the file.  `states`: at run time, by id.
std::vector<uint32_t> ring_of(const Service& service, const std::vector<uint32_t>& ids, const std::map<uint32_t, ps_service_state>& states);
uint32_t ring_size_of(const Service& service);

// The outer source where neither the file nor a route says one (RFC 7600's dummy address, and one of the discard prefix, RFC
// 6666): in replay.
inline constexpr Address replay_source4 = Address::v4(0xc0000008);   // 192.0.0.8
inline constexpr Address replay_source6{0x0100000000000000, 8};      // 100::8

}  // namespace penstock
