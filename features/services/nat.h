// Address translation of services: its checks, and its tables (features/services/nat_tables.h).  Pure.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config/types.h"
#include "core/plan/image.h"
#include "features/services/config.h"
#include "features/services/nat_tables.h"

namespace penstock {

// "20000-32767": the ports of this node that translated sources have.
Type<NumberRange> source_ports_type();

// What a service with `mode: nat` may not say, and what only such a one may.
bool check_nat(Decoder& d, const Service& service);

// All services together: to one address and port of a backend lead PS_REVERSES_MAX frontends at most.
bool check_reverses(Decoder& d, const std::vector<Service>& services);

bool translates(const std::vector<Service>& services);   // some service is of mode nat
bool translates_sources(const std::vector<Service>& services);

// Ports of `flows.source_ports` that this host also gives to its own connections.  `local` and `reserved`: as
// net.ipv4.ip_local_port_range and ip_local_reserved_ports say, "32768 60999" and "8080,9000-9010".
std::vector<NumberRange> shared_ports(const NumberRange& source_ports, const std::string& local, const std::string& reserved);

struct NatTables {
  std::vector<TableImage> tables;
  std::map<std::string, uint32_t> sizes;       // all maps of translation; 0 where nothing is translated
  ps_nat_const constants{};                    // likewise
};

// `ids`: of the backends of each service, in the order of the file; `end`: behind the last.  Adds to `frontends` and `ranges`
// what replies are found by.
NatTables compile_nat(const std::vector<Service>& services, const std::vector<std::vector<uint32_t>>& ids, uint32_t end, const Flows& flows,
                      std::vector<ps_frontend>& frontends, std::vector<ps_service_range>& ranges, SlotTable& slots);

}  // namespace penstock
