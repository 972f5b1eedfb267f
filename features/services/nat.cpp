#include "features/services/nat.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <set>
#include <sstream>

namespace penstock {
namespace {

constexpr uint32_t ports_in_line = std::size(ps_flow_line{}.flow), least_ports = 64;

// A frontend, seen from a backend that its packets are translated to.
struct Origin {
  NumberRange ports;                     // of the backend
  ps_reverse reverse{};
};
using Origins = std::map<std::pair<Address, uint8_t>, std::vector<Origin>>;   // by the backend's address and protocol

NumberRange backend_ports(const Frontend& f, const Backend& b) {
  if (!b.port) return f.ports;
  const auto port = static_cast<uint16_t>(b.port);
  return {port, port};
}

template <class Id>
Origins origins_of(const std::vector<Service>& services, const Id& id) {
  Origins out;
  for (uint32_t i = 0; i < services.size(); ++i) {
    if (services[i].mode != ServiceMode::nat) continue;
    for (size_t j = 0; j < services[i].backends.size(); ++j) {
      const Backend& b = services[i].backends[j];
      if (!b.address) continue;
      for (const Frontend& f : services[i].frontends) {
        Origin origin{backend_ports(f, b), {}};
        origin.reverse.frontend = {f.address.hi, f.address.lo};
        origin.reverse.service = i;
        origin.reverse.backend = id(i, j);
        origin.reverse.port = f.one_port() ? f.ports.first : 0;
        out[{*b.address, f.protocol}].push_back(origin);
      }
    }
  }
  return out;
}

// Calls `each` with ports that the same origins have, and those.
template <class Each>
void each_interval(const std::vector<Origin>& origins, const Each& each) {
  std::set<uint32_t> begins;
  for (const Origin& o : origins) begins.insert({o.ports.first, o.ports.last + 1u});
  for (auto at = begins.begin(); std::next(at) != begins.end(); ++at) {
    const NumberRange ports{static_cast<uint16_t>(*at), static_cast<uint16_t>(*std::next(at) - 1)};
    std::vector<const Origin*> here;
    for (const Origin& o : origins)
      if (o.ports.first <= ports.first && ports.last <= o.ports.last) here.push_back(&o);
    if (!here.empty()) each(ports, here);
  }
}

}  // namespace

bool translates(const std::vector<Service>& services) { return std::ranges::find(services, ServiceMode::nat, &Service::mode) != services.end(); }
bool translates_sources(const std::vector<Service>& services) {
  return std::ranges::any_of(services, [](const Service& s) { return s.mode == ServiceMode::nat && s.source_nat; });
}

Type<NumberRange> source_ports_type() {
  return {{"FIRST-LAST", {{"type", "string"}, {"pattern", "^[0-9]+-[0-9]+$"}}}, [](Decoder& d, const Node& node, NumberRange& out) {
            if (!expect_scalar(d, node, "a range of ports")) return false;
            const std::string_view text = node.text;
            const size_t dash = text.find('-');
            uint64_t first = 0, last = 0;
            if (dash == text.npos) return d.error(node, fmt::format("`{}` is no range of ports", text), "write FIRST-LAST, as 20000-32767");
            if (!decode_number(d, node, text.substr(0, dash), 1024, 65535, first) || !decode_number(d, node, text.substr(dash + 1), 1024, 65535, last)) return false;
            if (first > last) return d.error(node, "the range of ports ends before it begins");
            if (last - first + 1 < least_ports) return d.error(node, fmt::format("{} ports are less than {}", last - first + 1, least_ports));
            out = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
            return true;
          }};
}

bool check_nat(Decoder& d, const Service& service) {
  bool good = true;
  if (service.mode != ServiceMode::nat) {
    if (service.source_nat) good = d.error(service.source_nat_at, "`source-nat` without `mode: nat`: with direct server return the backend must see the client's address", "write `mode: nat`, or remove it");
    for (const Backend& b : service.backends)
      if (b.port) good = d.error(b.at, fmt::format("the backend `{}` has a `port` without `mode: nat`: with direct server return the packet is as the client sent it", b.name), "write `mode: nat`, or remove it");
    return good;
  }
  if (service.encap_said) good = d.error(service.encap_at, "`encap` with `mode: nat`: the packet becomes the backend's own, nothing is put around it", "remove it, or write `mode: dsr`");
  if (service.outer_source) good = d.error(service.outer_source_at, "`outer-source` with `mode: nat`: there is no outer header", "remove it; `source-nat: yes` makes packets come from this node");
  for (const Backend& b : service.backends)
    for (const Frontend& f : service.frontends) {
      if (b.address && b.address->is_v4() != f.address.is_v4()) {
        good = d.error(b.at, fmt::format("the backend `{}` has an IPv{} address, but {} is of IPv{}", b.name, b.address->is_v4() ? 4 : 6, f.text(), f.address.is_v4() ? 4 : 6),
                       "`mode: nat` translates within a family: make a service for each");
        break;
      }
      if (b.port && (!b.address || !f.one_port())) {
        good = d.error(b.at, b.address ? fmt::format("the backend `{}` has one `port`, but {} has many: those of a range stay as they are", b.name, f.text())
                                       : fmt::format("the backend `{}` is this node: its packets go up as they are, without another port", b.name),
                       "remove `port`");
        break;
      }
    }
  return good;
}

bool check_reverses(Decoder& d, const std::vector<Service>& services) {
  bool good = true;
  for (const auto& [where, origins] : origins_of(services, [](size_t, size_t) { return 0u; }))
    each_interval(origins, [&, &address = where.first](const NumberRange& ports, const std::vector<const Origin*>& here) {
      if (here.size() <= PS_REVERSES_MAX || !good) return;
      const Service& last = services[here.back()->reverse.service];
      good = d.error(last.at, fmt::format("{} frontends lead to port {} of {} by address translation, but replies can be told apart for {}", here.size(), ports.first, address.text(), PS_REVERSES_MAX),
                     "give the backend more ports or addresses");
    });
  return good;
}

std::vector<NumberRange> shared_ports(const NumberRange& source_ports, const std::string& local, const std::string& reserved) {
  unsigned first = 0, last = 0;
  if (!(std::istringstream(local) >> first >> last)) return {};
  std::vector<bool> shared(65536);
  for (unsigned port = std::max<unsigned>(first, source_ports.first); port <= last && port <= source_ports.last; ++port) shared[port] = true;
  std::istringstream items(reserved);
  for (std::string item; std::getline(items, item, ',');) {
    char dash = 0;
    std::istringstream in(item);
    if (!(in >> first)) continue;
    last = first;
    if (in >> dash) in >> last;
    for (unsigned port = first; port <= last && port < shared.size(); ++port) shared[port] = false;
  }
  std::vector<NumberRange> out;
  for (uint32_t port = 0; port < shared.size(); ++port) {
    if (!shared[port]) continue;
    if (out.empty() || out.back().last + 1u != port) out.push_back({static_cast<uint16_t>(port), static_cast<uint16_t>(port)});
    out.back().last = static_cast<uint16_t>(port);
  }
  return out;
}

NatTables compile_nat(const std::vector<Service>& services, const std::vector<std::vector<uint32_t>>& ids, uint32_t end, const Flows& flows,
                      std::vector<ps_frontend>& frontends, std::vector<ps_service_range>& ranges, SlotTable& slots) {
  NatTables out;
  for (const char* map : {"service_reverses", "service_nats", "service_ports", "service_clients", "service_client_hops", "nat_scratch"}) out.sizes[map] = 0;
  if (!translates(services)) return out;
  std::vector<ps_reverse> reverses;
  std::map<Address, std::pair<std::vector<ps_service_range>, uint32_t>> addresses;   // their ranges, and any
  for (const auto& [where, origins] : origins_of(services, [&](size_t service, size_t backend) { return ids[service][backend]; }))
    each_interval(origins, [&, &where = where](const NumberRange& ports, const std::vector<const Origin*>& here) {
      const auto first = static_cast<uint32_t>(reverses.size());
      for (const Origin* o : here) reverses.push_back(o->reverse);
      reverses.back().last = 1;
      const auto& [address, protocol] = where;
      auto& of = addresses.try_emplace(address, std::vector<ps_service_range>{}, first).first->second.first;
      const auto key = static_cast<uint8_t>(protocol | PS_REVERSE);
      if (ports.first == ports.last)
        frontends.push_back({{address.hi, address.lo}, ports.first, key, 1, first, 0, 0});
      else
        of.push_back({ports.first, ports.last, key, first, 0});
    });
  for (const auto& [address, of] : addresses) {
    frontends.push_back({{address.hi, address.lo}, 0, PS_REVERSE, 1, static_cast<uint32_t>(ranges.size()), static_cast<uint32_t>(of.first.size()), of.second});
    ranges.insert(ranges.end(), of.first.begin(), of.first.end());
  }
  std::vector<ps_nat> nats(std::max(end, 1u));
  for (size_t i = 0; i < services.size(); ++i) {
    if (services[i].mode != ServiceMode::nat) continue;
    for (size_t j = 0; j < services[i].backends.size(); ++j) {
      const Backend& b = services[i].backends[j];
      ps_nat& nat = nats[ids[i][j]];
      nat.port = static_cast<uint16_t>(b.port);
      const auto slot = [&](int exit, ps_verdict verdict, ps_reason reason) {
        nat.slot[exit] = slots.intern(service_slot(services[i].name, b.name, verdict, reason, b.at));
      };
      slot(PS_EXIT_FORWARDED, PS_REDIRECT, PS_REASON_TRANSLATED);
      slot(PS_EXIT_RETURNED, PS_TX, PS_REASON_TRANSLATED);
      slot(PS_EXIT_STACK, PS_PASS, PS_REASON_TRANSLATED);
      slot(PS_EXIT_NO_ROUTE, PS_DROP, PS_REASON_NO_ROUTE);
      slot(PS_EXIT_ABORTED, PS_DROP, PS_REASON_NO_ROOM);
      slot(PS_EXIT_NO_PLACE, PS_DROP, PS_REASON_NO_PLACE);
      slot(PS_EXIT_EXPIRED, PS_TX, PS_REASON_EXPIRED);
      slot(PS_EXIT_EXPIRED_SILENT, PS_DROP, PS_REASON_EXPIRED);
    }
  }
  out.constants.on = 1;
  if (translates_sources(services)) {
    out.constants.port_first = flows.source_ports.first;
    out.constants.port_lines = (flows.source_ports.last - flows.source_ports.first + 1u) / ports_in_line;
    const uint32_t lines = out.constants.port_lines * PS_PORT_PLANES;
    out.sizes["service_ports"] = lines;
    out.sizes["service_clients"] = lines * ports_in_line;
  }
  out.sizes["service_client_hops"] = PS_CLIENT_HOPS;
  out.sizes["nat_scratch"] = 1;
  if (reverses.empty()) reverses.emplace_back();   // all backends are this node
  out.tables.push_back({"service_reverses", sizeof(ps_reverse), bytes_of(reverses), {}});
  out.tables.push_back({"service_nats", sizeof(ps_nat), bytes_of(nats), {}});
  for (const char* map : {"service_reverses", "service_nats"}) out.sizes.erase(map);
  return out;
}

}  // namespace penstock
