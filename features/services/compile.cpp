#include "features/services/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <set>

#include "features/services/hash.h"
#include "features/services/maglev.h"
#include "features/services/nat.h"

namespace penstock {
namespace {

// What a node without services has none of.
constexpr const char* maps[] = {"service_frontends", "service_ranges", "services", "service_sources", "service_ring", "service_backends", "service_flows", "service_states", "service_hops",
                                "service_flow_counts", "service_fragments", "service_turns", "service_scratch", "service_egress"};
constexpr uint32_t least_capacity = 64;
constexpr size_t kick_most = 500;      // entries that an insertion moves before the hash is made larger

ps_address address_of(const Address& a) { return {a.hi, a.lo}; }

// Cuckoo hashing: an entry that finds both of its lines full takes the place of another, which moves to its other line.
std::optional<std::vector<ps_frontend_line>> place_frontends(const std::vector<ps_frontend>& entries, uint32_t lines) {
  std::vector<ps_frontend_line> out(lines);
  const auto lines_of = [&](const ps_frontend& f) {
    const uint64_t hash = service_frontend_hash(&f.address, f.protocol, f.port);
    return std::pair{static_cast<uint32_t>(hash & (lines - 1)), static_cast<uint32_t>(hash >> 32 & (lines - 1))};
  };
  const auto put = [&](uint32_t line, const ps_frontend& f) {
    for (ps_frontend& place : out[line].entry)
      if (!place.used) return place = f, true;
    return false;
  };
  for (ps_frontend f : entries) {
    auto [at, other] = lines_of(f);
    bool placed = put(at, f) || put(other, f);
    for (size_t kick = 0; !placed && kick < kick_most; ++kick) {
      std::swap(f, out[at].entry[kick & 1]);
      const auto [first, second] = lines_of(f);
      at = first == at ? second : first;
      placed = put(at, f);
    }
    if (!placed) return std::nullopt;
  }
  return out;
}

// Gives out ids; a backend that is known keeps its own.
class Ids {
 public:
  explicit Ids(const std::vector<BackendImage>& known) : taken_{true} {
    for (const BackendImage& b : known) {
      ids_.emplace(std::pair{b.service, b.backend}, b.id);
      take(b.id);
    }
  }
  uint32_t of(const std::string& service, const std::string& backend) {
    const auto [entry, added] = ids_.try_emplace({service, backend}, 0);
    if (added) {
      entry->second = static_cast<uint32_t>(std::ranges::find(taken_, false) - taken_.begin());
      take(entry->second);
    }
    return entry->second;
  }
  uint32_t end() const { return static_cast<uint32_t>(taken_.size()); }

 private:
  void take(uint32_t id) {
    if (id >= taken_.size()) taken_.resize(id + 1);
    taken_[id] = true;
  }
  std::map<std::pair<std::string, std::string>, uint32_t> ids_;
  std::vector<bool> taken_;
};

template <class T>
TableImage table(const char* name, const std::vector<T>& entries, std::string structure = {}) {
  return {name, sizeof(T), entries.empty() ? bytes_of(std::vector<T>(1)) : bytes_of(entries), std::move(structure)};
}

uint8_t state_of(BackendState state) {
  switch (state) {
    case BackendState::up: return PS_BACKEND_UP;
    case BackendState::draining: return PS_BACKEND_DRAINING;
    case BackendState::down:
    case BackendState::maintenance: return PS_BACKEND_DOWN;
  }
  return PS_BACKEND_DOWN;
}

ps_backend backend_of(const Service& service, const Backend& b, uint32_t index, const KnownServices& known, SlotTable& slots) {
  ps_backend out{};
  out.service = index + 1;
  out.state = state_of(b.state);
  out.mtu = static_cast<uint16_t>(b.path_mtu);
  out.encap = service.encap;
  out.gue_port = static_cast<uint16_t>(service.gue_port);
  if (!b.address) {
    out.flags |= PS_BACKEND_LOCAL;
  } else {
    out.address = address_of(*b.address);
    const auto own = known.sources.find(*b.address);
    out.source = address_of(own != known.sources.end() ? own->second : b.address->is_v4() ? replay_source4 : replay_source6);
    if (service.outer_source) {
      out.source = address_of(service.outer_source->address);
      out.source_bits = static_cast<uint8_t>(std::min(128 - service.outer_source->length, 64));
      if (out.source_bits) out.flags |= PS_BACKEND_SPREAD;
    }
  }
  const auto slot = [&](ps_verdict verdict, ps_reason reason) {
    return slots.intern(service_slot(service.name, b.name, verdict, reason, b.at));
  };
  out.slot[PS_EXIT_FORWARDED] = slot(PS_REDIRECT, PS_REASON_BALANCED);
  out.slot[PS_EXIT_RETURNED] = slot(PS_TX, PS_REASON_BALANCED);
  out.slot[PS_EXIT_STACK] = slot(PS_PASS, PS_REASON_BALANCED_UP);
  out.slot[PS_EXIT_NO_ROUTE] = slot(PS_DROP, PS_REASON_NO_ROUTE);
  out.slot[PS_EXIT_ABORTED] = slot(PS_DROP, PS_REASON_NO_ROOM);
  return out;
}

ps_service service_of(const Service& service, const std::vector<std::string>& interfaces, SlotTable& slots) {
  ps_service out{};
  for (size_t i = 0; i < interfaces.size() && i < 64; ++i)
    if (service.on.empty() || std::ranges::find(service.on, interfaces[i]) != service.on.end()) out.on |= 1ull << i;
  out.mss = service.mss;
  if (service.affinity == Affinity::client) out.flags |= PS_SERVICE_CLIENT;
  if (service.scheduler == Scheduler::round_robin) out.flags |= PS_SERVICE_ROUND_ROBIN;
  if (service.scheduler == Scheduler::random) out.flags |= PS_SERVICE_RANDOM;
  if (service.mode == ServiceMode::nat) out.flags |= PS_SERVICE_NAT;
  if (service.mode == ServiceMode::nat && service.source_nat) out.flags |= PS_SERVICE_SOURCE_NAT;
  const auto slot = [&](ps_service_exit exit, ps_verdict verdict, ps_reason reason) {
    out.slot[exit] = slots.intern(service_slot(service.name, {}, verdict, reason, service.at));
  };
  slot(PS_EXIT_NO_BACKEND, PS_DROP, PS_REASON_NO_BACKEND);
  slot(PS_EXIT_SOURCE, PS_DROP, PS_REASON_SOURCE_REFUSED);
  slot(PS_EXIT_FRAGMENT, PS_DROP, PS_REASON_FRAGMENT_LOST);
  slot(PS_EXIT_TOO_BIG, PS_TX, PS_REASON_TOO_BIG);
  slot(PS_EXIT_TOO_BIG_SILENT, PS_DROP, PS_REASON_TOO_BIG);
  slot(PS_EXIT_ECHO, PS_TX, PS_REASON_ECHO_ANSWERED);
  slot(PS_EXIT_ERROR_LOST, PS_PASS, PS_REASON_ERROR_LOST);
  return out;
}

// Frontends with one port each have an entry; those with more lie with their address.
void add_frontends(const std::vector<Service>& services, std::vector<ps_frontend>& entries, std::vector<ps_service_range>& ranges) {
  struct OfAddress {
    std::vector<ps_service_range> ranges;
    uint32_t any = 0;
  };
  std::map<Address, OfAddress> addresses;
  for (uint32_t i = 0; i < services.size(); ++i)
    for (const Frontend& f : services[i].frontends) {
      const auto [address, added] = addresses.try_emplace(f.address);
      if (added) address->second.any = i;
      if (f.one_port())
        entries.push_back({address_of(f.address), f.ports.first, f.protocol, 1, i, 0, 0});
      else
        address->second.ranges.push_back({f.ports.first, f.ports.last, f.protocol, i, 0});
    }
  for (const auto& [address, of] : addresses) {
    entries.push_back({address_of(address), 0, 0, 1, static_cast<uint32_t>(ranges.size()), static_cast<uint32_t>(of.ranges.size()), of.any});
    ranges.insert(ranges.end(), of.ranges.begin(), of.ranges.end());
  }
}

// In units of time, rounded up: never sooner than it says.
uint16_t idle(uint32_t seconds) { return static_cast<uint16_t>(std::min<uint64_t>((seconds * 1'000'000'000ull >> PS_FLOW_TICK) + 1, 65'000)); }

}  // namespace

uint32_t ring_size_of(const Service& service) { return service.table_size ? service.table_size : ring_size_for(service.backends.size()); }

std::vector<uint32_t> ring_of(const Service& service, const std::vector<uint32_t>& ids, const std::map<uint32_t, ps_service_state>& states) {
  const uint32_t size = ring_size_of(service);
  const bool slow = std::ranges::any_of(ids, [&](uint32_t id) { const auto s = states.find(id); return s != states.end() && s->second.weight; });
  std::vector<RingMember> members;
  std::vector<size_t> order(service.backends.size());  // by name: who comes first in a round is no matter of the file's order
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) -> const std::string& { return service.backends[i].name; });
  for (const size_t i : order) {
    const Backend& b = service.backends[i];
    const auto state = states.find(ids[i]);
    const ps_service_state now = state == states.end() ? ps_service_state{} : state->second;
    RingMember m{place_of(b.name, size), b.weight * (slow ? 1000 : 1), ids[i]};
    if (now.weight) m.weight = b.weight * now.weight;
    if (b.state != BackendState::up || now.health != PS_BACKEND_UP || now.admin != PS_BACKEND_UP) m.weight = 0;
    members.push_back(m);
  }
  std::vector<uint32_t> ring = service.scheduler == Scheduler::maglev ? maglev(members, size) : round_robin(members, size);
  ring.resize(size);  // nobody: id 0
  return ring;
}

ServiceTables compile_services(const std::vector<Service>& services, const Flows& flows, const std::vector<std::string>& interfaces, const KnownServices& known, SetRegistry& sets, SlotTable& slots) {
  ServiceTables out;
  if (services.empty()) {
    std::vector<ps_frontend> none;
    std::vector<ps_service_range> no_ranges;
    out.sizes = compile_nat({}, {}, 0, flows, none, no_ranges, slots).sizes;
    for (const char* map : maps) out.sizes[map] = 0;
    return out;
  }
  Ids ids(known.backends);
  std::vector<ps_service> table_services;
  std::map<uint32_t, ps_backend> backends;
  std::vector<uint32_t> ring, sources;
  std::vector<std::vector<uint32_t>> ids_of;   // by service
  for (uint32_t i = 0; i < services.size(); ++i) {
    const Service& service = services[i];
    ps_service& entry = table_services.emplace_back(service_of(service, interfaces, slots));
    std::vector<uint32_t> own;
    for (const Backend& b : service.backends) {
      const uint32_t id = ids.of(service.name, b.name);
      own.push_back(id);
      backends[id] = backend_of(service, b, i, known, slots);
      out.backends.push_back({service.name, b.name, id});
      out.constants.encaps |= 1u << service.encap;
    }
    ids_of.push_back(own);
    entry.ring = static_cast<uint32_t>(ring.size());
    const std::vector<uint32_t> places = ring_of(service, own, {});
    entry.ring_size = static_cast<uint32_t>(places.size());
    ring.insert(ring.end(), places.begin(), places.end());
    entry.first_source = static_cast<uint32_t>(sources.size());
    if (!service.from.prefixes.empty()) sources.push_back(sets.nameless(service.from.prefixes));
    for (const std::string& set : service.from.sets) sources.push_back(sets.named(set));
    entry.sources = static_cast<uint32_t>(sources.size()) - entry.first_source;
    if (entry.sources) out.constants.sources = 1;
    if (entry.mss) out.constants.mss = 1;
  }
  std::vector<ps_frontend> entries;
  std::vector<ps_service_range> ranges;
  add_frontends(services, entries, ranges);
  NatTables nat = compile_nat(services, ids_of, ids.end(), flows, entries, ranges, slots);
  std::optional<std::vector<ps_frontend_line>> lines;
  for (uint32_t count = std::bit_ceil(std::max<uint32_t>(2, static_cast<uint32_t>(entries.size()))); !lines; count *= 2) lines = place_frontends(entries, count);

  ps_service_const& c = out.constants;
  c.on = 1;
  c.frontend_mask = static_cast<uint32_t>(lines->size() - 1);
  c.ranges = !ranges.empty();
  c.capacity = std::bit_ceil(std::max(ids.end(), least_capacity));
  const uint32_t flow_lines = std::bit_ceil((flows.entries + 1) / 2);  // room for twice as many: a line is seldom full
  c.flow_mask = flow_lines - 1;
  const uint16_t tcp = idle(flows.tcp_idle), udp = idle(flows.udp_idle);
  const uint16_t opening = idle(30), closing = idle(60), reset = idle(5);
  const uint16_t phases[PS_FLOW_PHASES] = {opening, tcp, closing, reset, udp, udp, 0, 0};
  std::ranges::copy(phases, c.idle);

  std::vector<ps_backend> by_id(ids.end());
  for (const auto& [id, b] : backends) by_id[id] = b;
  std::vector<ps_ring_line> ring_lines((ring.size() + 15) / 16 + 1);
  for (size_t i = 0; i < ring.size(); ++i) ring_lines[i / 16].id[i % 16] = ring[i];
  out.tables.push_back(table("service_frontends", *lines));
  out.tables.push_back(table("service_ranges", ranges));
  out.tables.push_back(table("services", table_services));
  out.tables.push_back(table("service_sources", sources));
  out.tables.push_back(table("service_ring", ring_lines, fmt::format("{} services, {} backends, {} places", services.size(), out.backends.size(), ring.size())));
  out.tables.push_back(table("service_backends", by_id));
  out.sizes = {{"service_flows", flow_lines + 1}, {"service_states", c.capacity}, {"service_hops", c.capacity}, {"service_flow_counts", 1}, {"service_fragments", PS_SERVICE_FRAGMENTS},
               {"service_turns", std::bit_ceil(std::max<uint32_t>(static_cast<uint32_t>(services.size()), 16))}, {"service_scratch", 1}, {"service_egress", PS_EGRESS_DEVICES}};
  out.nat = nat.constants;
  out.sizes.merge(nat.sizes);
  for (TableImage& t : nat.tables) out.tables.push_back(std::move(t));
  return out;
}

}  // namespace penstock
