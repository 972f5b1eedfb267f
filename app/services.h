// What services and other features must agree on, and what services need of the host.
#pragma once
#include <map>

#include "app/compile.h"
#include "app/config.h"
#include "core/config/reader.h"
#include "core/kernel/route.h"
#include "core/plan/devices.h"
#include "core/plan/instance.h"
#include "core/plan/loader.h"
#include "features/services/tables.h"

namespace penstock {

// No SYN proxy stands before a frontend: it answers for local listeners only.  Every check has a port to go to.
Result<> verify_services(const Document& document, Config& config);

// The host's way to each backend's address; addresses without a route are left out.
using BackendRoutes = std::map<Address, Route>;
Result<BackendRoutes> backend_routes(const Config& config);

// What kept revisions and the host say.
Result<KnownServices> known_services(const Instance& instance, const BackendRoutes& routes);

struct ServiceNeeds {
  std::vector<std::string> keys;             // Setting::key() of all that services need, in force or not
  std::vector<NeededSetting> missing;
  std::vector<Diagnostic> warnings;          // backends without a route, or beyond a device that XDP cannot transmit by
};
Result<ServiceNeeds> service_needs(const Config& config, const BackendRoutes& routes);

// Who answers ARP and neighbour discovery for each frontend's address, for the plan.
Result<std::vector<std::string>> frontend_notes(const Config& config);

// Devices of this host that XDP cannot transmit by under their own number, by ifindex: a VLAN is its parent and a tag; what a
// driver cannot transmit goes up the stack.
Result<std::map<uint32_t, ps_egress>> egress_devices();
// Into the programs' map, if they have one.
Result<> fill_egress(const Loaded& programs);

}  // namespace penstock
