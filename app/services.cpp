#include "app/services.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "app/health.h"
#include "core/kernel/bpf.h"
#include "core/kernel/links.h"
#include "core/kernel/neighbor.h"
#include "core/kernel/sysctl.h"
#include "core/kernel/vlans.h"
#include "core/kernel/xdp_features.h"
#include "core/plan/revisions.h"
#include "features/services/nat.h"
#include "features/services/state.h"
#include "features/syn_proxy/config.h"

namespace penstock {
namespace {

// XDP asks for routes as if the host itself sent (hop.bpf.h); the kernel answers only where the device asked for forwards.  On
// the loopback device that lets nothing through that did not pass before.
void need_forwarding(bool v4, ServiceNeeds& needs) {
  Setting s;
  s.kind = SettingKind::sysctl;
  s.feature = fmt::format("net/ipv{}/conf/lo/forwarding", v4 ? 4 : 6);
  s.after = "1";
  needs.keys.push_back(s.key());
  const auto now = read_sysctl(s.feature);
  if (!now || *now == s.after) return;
  s.before = *now;
  needs.missing.push_back({s, fmt::format("{} {} -> 1: XDP asks for routes to backends", s.feature, s.before)});
}

// The host gives none of the ports of translated sources to connections of its own.
void need_source_ports(const Config& config, ServiceNeeds& needs) {
  Setting s;
  s.kind = SettingKind::sysctl;
  s.feature = "net/ipv4/ip_local_reserved_ports";  // of both families
  needs.keys.push_back(s.key());
  const auto local = read_sysctl("net/ipv4/ip_local_port_range"), reserved = read_sysctl(s.feature);
  if (!local || !reserved) return;
  const auto shared = shared_ports(config.flows.source_ports, *local, *reserved);
  if (shared.empty()) return;
  s.before = s.after = *reserved;
  for (const NumberRange& ports : shared) s.after += fmt::format("{}{}-{}", s.after.empty() ? "" : ",", ports.first, ports.last);
  needs.missing.push_back({s, fmt::format("{} \"{}\" -> \"{}\": translated sources have these ports", s.feature, s.before, s.after)});
}

bool kernel_manages_neighbors() { return read_sysctl("net/ipv4/neigh/lo/interval_probe_time_ms").has_value(); }

Result<> need_neighbor(const Route& way, ServiceNeeds& needs) {
  Setting s;
  s.kind = SettingKind::neighbor;
  s.ifindex = way.ifindex;
  s.device = device_name(way.ifindex);
  s.feature = way.next_hop.text();
  if (std::ranges::find(needs.keys, s.key()) != needs.keys.end()) return {};
  needs.keys.push_back(s.key());
  TRY_ASSIGN(const bool managed, neighbor_managed(way.ifindex, way.next_hop));
  if (!managed) needs.missing.push_back({s, fmt::format("the neighbour {} is kept resolved: XDP does not ask for it", s.feature)});
  return {};
}

constexpr uint32_t loopback = 1;

}  // namespace

Result<BackendRoutes> backend_routes(const Config& config) {
  BackendRoutes out;
  for (const Service& service : config.services)
    for (const Backend& b : service.backends) {
      if (!b.address || out.contains(*b.address)) continue;
      TRY_ASSIGN(const auto route, route_to(*b.address));
      if (route) out[*b.address] = *route;
    }
  return out;
}

Result<KnownServices> known_services(const Instance& instance, const BackendRoutes& routes) {
  KnownServices out;
  for (const Revision& r : Revisions(instance).heads()) out.backends.insert(out.backends.end(), r.backends.begin(), r.backends.end());
  for (const auto& [address, route] : routes)
    if (route.source.hi || route.source.lo) out.sources[address] = route.source;
  return out;
}

Result<std::vector<std::string>> frontend_notes(const Config& config) {
  constexpr size_t most_notes = 16;
  std::vector<std::string> out;
  std::map<Address, std::string> frontends;  // the service that is named
  for (const Service& service : config.services)
    for (const Frontend& f : service.frontends) frontends.emplace(f.address, service.name);
  TRY_ASSIGN(const std::vector<OwnAddress> own, own_addresses());
  for (const auto& [address, service] : frontends) {
    if (out.size() == most_notes) {
      out.push_back(fmt::format("and {} more addresses of frontends", frontends.size() - most_notes));
      break;
    }
    const auto found = std::ranges::find(own, address, &OwnAddress::address);
    if (found == own.end())
      out.push_back(fmt::format("{} (service {}) is no address of this host, which does not answer ARP or neighbour discovery for it: a router must send its packets here", address.text(), service));
    else
      out.push_back(fmt::format("{} (service {}) is an address of {}: this host answers {} for it", address.text(), service, device_name(found->ifindex), address.is_v4() ? "ARP" : "neighbour discovery"));
  }
  return out;
}

Result<std::map<uint32_t, ps_egress>> egress_devices() {
  std::map<uint32_t, ps_egress> out;
  std::map<uint32_t, bool> transmits;
  for (const Device& device : list_devices()) {
    if (device.ifindex == loopback) continue;
    const auto features = xdp_features(device);
    transmits[device.ifindex] = !features || features->transmit;  // a kernel that does not tell: tried
    if (!transmits[device.ifindex]) out[device.ifindex] = {};
  }
  TRY_ASSIGN(const auto vlans, vlan_devices());
  for (const VlanDevice& vlan : vlans) {
    const bool plain = vlan.protocol == 0x8100 && transmits[vlan.parent] && std::ranges::find(vlans, vlan.parent, &VlanDevice::ifindex) == vlans.end();
    out[vlan.ifindex] = plain ? ps_egress{vlan.parent, vlan.id, 1} : ps_egress{};
  }
  return out;
}

Result<> fill_egress(const Loaded& programs) {
  const int map = programs.map("service_egress");
  if (map < 0) return {};
  TRY_ASSIGN(const auto devices, egress_devices());
  TRY_ASSIGN(const auto old, map_entries(map));
  for (const auto& [ifindex, egress] : devices) TRY(map_update(map, &ifindex, &egress));
  for (const auto& [key, value] : old) {
    uint32_t ifindex = 0;
    std::memcpy(&ifindex, key.data(), sizeof ifindex);
    if (!devices.contains(ifindex)) TRY(map_delete(map, &ifindex));
  }
  return {};
}

Result<ServiceNeeds> service_needs(const Config& config, const BackendRoutes& routes) {
  ServiceNeeds out;
  bool family[2] = {};
  const bool managed = kernel_manages_neighbors();
  if (translates_sources(config.services)) need_source_ports(config, out);
  TRY_ASSIGN(const auto egress, egress_devices());
  for (const Service& service : config.services)
    for (const Backend& b : service.backends) {
      if (!b.address) continue;
      const auto route = routes.find(*b.address);
      if (route == routes.end() || route->second.ifindex == loopback) {
        Diagnostic d{route == routes.end() ? fmt::format("no route leads to the backend {}/{}, {}", service.name, b.name, b.address->text())
                                           : fmt::format("{} is an address of this node: the backend {}/{} cannot be reached so", b.address->text(), service.name, b.name)};
        d.at = b.at;
        d.hint = route == routes.end() ? "its connections are dropped until there is one" : "write `address: local`";
        out.warnings.push_back(std::move(d));
      }
      if (const auto by = route == routes.end() ? egress.end() : egress.find(route->second.ifindex); by != egress.end() && by->second.ifindex == 0) {
        Diagnostic d{fmt::format("XDP cannot transmit by {}: packets for the backend {}/{} {}", device_name(by->first), service.name, b.name,
                                 service.encap == PS_ENCAP_NONE ? "are dropped" : "go up to the host, which must forward them")};
        d.at = b.at;
        d.hint = "a veth transmits where its other end has GRO on (`ethtool -K DEVICE gro on`)";
        out.warnings.push_back(std::move(d));
      }
      const bool v4 = b.address->is_v4();
      if (!std::exchange(family[v4], true)) need_forwarding(v4, out);
      if (route != routes.end() && route->second.ifindex != loopback && managed) TRY(need_neighbor(route->second, out));
    }
  return out;
}

Result<> verify_services(const Document& document, Config& config) {
  constexpr size_t most_interfaces = 64;  // bits of ps_service.on
  Error errors;
  if (!config.services.empty() && config.interfaces.size() > most_interfaces)
    errors.diagnostics.push_back(document.diagnostic(config.services.front().at, fmt::format("services together with {} interfaces: at most {} can be told apart", config.interfaces.size(), most_interfaces), "match several devices by one pattern"));
  for (const Interface& i : config.interfaces) {
    const auto* proxy = i.extensions.get<SynProxy>();
    if (!proxy) continue;
    for (const Service& s : config.services) {
      if (!s.on.empty() && std::ranges::find(s.on, i.name) == s.on.end()) continue;
      for (const Frontend& f : s.frontends) {
        const auto port = std::ranges::find_if(proxy->ports, [&](uint32_t p) { return f.protocol == IPPROTO_TCP && p >= f.ports.first && p <= f.ports.last; });
        if (port == proxy->ports.end()) continue;
        errors.diagnostics.push_back(document.diagnostic(proxy->at, fmt::format("the SYN proxy of {} stands before {}, which the service `{}` balances: it answers for listeners of this host only", i.name, f.text(), s.name),
                                                         fmt::format("take port {} out of the proxy, or the interface out of the service's `on`", *port)));
      }
    }
  }
  for (const Service& s : config.services)
    if (const Health* health = health_of(s); health && health->needs_port() && !checked_port(s, *health))
      errors.diagnostics.push_back(document.diagnostic(health->at, fmt::format("the service `{}` has more than one port, and `health` does not say which is checked", s.name), "name it: `port: 443`"));
  if (!errors.diagnostics.empty()) return Failure(std::move(errors));
  return {};
}

}  // namespace penstock
