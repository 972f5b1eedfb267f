#include "features/services/state.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>

#include "core/kernel/bpf.h"

namespace penstock {
namespace {

// An array of a generation in this process' memory; empty where the generation has none.
struct Table {
  Mapping memory;
  uint32_t count = 0;
  uint32_t id = 0;             // of the map
  template <class T>
  T* as() const { return memory.as<T>(); }
};

Result<Table> open_table(int map) {
  Table out;
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  TRY_ASSIGN(out.memory, map_memory(map));
  out.count = info.max_entries;
  out.id = info.id;
  return out;
}
Result<Table> open_table(const Instance& instance, uint64_t generation, const char* name) {
  if (generation == 0) return Table{};
  auto map = open_pin(instance.generation(generation) + "/" + name);
  return map ? open_table(map->get()) : Table{};
}

uint32_t backend_in(uint64_t word) { return static_cast<uint32_t>(word >> PS_FLOW_BACKEND); }

// Calls `each` with the entries in use.
template <class Each>
void each_flow(const Table& flows, const Each& each) {
  for (uint32_t line = 1; line < flows.count; ++line)
    for (ps_flow& f : flows.as<ps_flow_line>()[line].flow)
      if (f.print) each(f);
}

Result<> make_head(ps_flow_head& head) {
  uint64_t random[3];
  if (getrandom(random, sizeof random, 0) != sizeof random) return fail_errno("cannot make a key for the flow table", errno);
  head = {PS_FLOW_LAYOUT, random[0], {random[1] & ~1ull, random[2] & ~1ull}, {}};
  return {};
}

// Into a table of another size: an entry that finds its line full is left out.
void move_flows(const Table& from, const Table& to) {
  each_flow(from, [&](const ps_flow& f) {
    ps_flow_line& line = to.as<ps_flow_line>()[1 + (f.print >> 20 & (to.count - 2))];
    const auto place = std::ranges::find(line.flow, 0ull, &ps_flow::print);
    if (place != std::end(line.flow)) *place = f;
  });
}

Result<> take_over_flows(const Instance& instance, uint64_t from, const Loaded& loaded, const std::vector<uint32_t>& reused) {
  const int map = loaded.map("service_flows");
  if (map < 0) return {};
  TRY_ASSIGN(const Table flows, open_table(map));
  TRY_ASSIGN(const Table before, open_table(instance, from, "service_flows"));
  auto* const head = flows.as<ps_flow_head>();
  if (before.count > 1 && before.id != flows.id && before.as<ps_flow_head>()->layout == PS_FLOW_LAYOUT) {
    *head = *before.as<ps_flow_head>();
    move_flows(before, flows);
  }
  if (head->layout != PS_FLOW_LAYOUT) TRY(make_head(*head));
  const std::set<uint32_t> ids(reused.begin(), reused.end());
  if (!ids.empty())
    each_flow(flows, [&](ps_flow& f) {
      if (ids.contains(backend_in(f.word))) f.print = 0;
    });
  return {};
}

Result<> take_over_states(const Instance& instance, uint64_t from, const Loaded& loaded, const std::vector<uint32_t>& reused) {
  const int map = loaded.map("service_states");
  if (map < 0) return {};
  TRY_ASSIGN(const Table states, open_table(map));
  TRY_ASSIGN(const Table before, open_table(instance, from, "service_states"));
  if (before.id != states.id && before.count) std::copy_n(before.as<ps_service_state>(), std::min(before.count, states.count), states.as<ps_service_state>());
  for (const uint32_t id : reused)
    if (id < states.count) states.as<ps_service_state>()[id] = {};
  return {};
}

// Up, with all of its weight.
bool is_plain(const ps_service_state& s) { return !s.health && !s.admin && !s.weight; }

// What rings are made of, in a generation's maps.
struct Rings {
  Table states, services, ring;
};

// Makes the rings of the services `concerned` anew, by the states.
Result<> write_rings(const Rings& rings, const std::vector<Service>& services, const std::vector<BackendImage>& backends, const std::set<std::string_view>& concerned) {
  std::map<std::pair<std::string_view, std::string_view>, uint32_t> numbers;
  for (const BackendImage& b : backends) numbers[{b.service, b.backend}] = b.id;
  for (size_t i = 0; i < services.size() && i < rings.services.count; ++i) {
    if (!concerned.contains(services[i].name)) continue;
    std::vector<uint32_t> ids;
    std::map<uint32_t, ps_service_state> now;
    for (const Backend& b : services[i].backends) {
      const auto found = numbers.find({services[i].name, b.name});
      ids.push_back(found == numbers.end() ? 0 : found->second);
      if (ids.back() && ids.back() < rings.states.count) now[ids.back()] = rings.states.as<ps_service_state>()[ids.back()];
    }
    const ps_service& service = rings.services.as<ps_service>()[i];
    const std::vector<uint32_t> places = ring_of(services[i], ids, now);
    if (places.size() != service.ring_size || uint64_t{service.ring} + service.ring_size > uint64_t{rings.ring.count} * 16) return fail("the running services are not those of the file");
    volatile uint32_t* const at = rings.ring.as<uint32_t>() + service.ring;  // ids lie without holes
    for (size_t place = 0; place < places.size(); ++place)
      if (at[place] != places[place]) at[place] = places[place];
  }
  return {};
}

}  // namespace

const char* state_name(uint8_t state) { return state == PS_BACKEND_UP ? "up" : state == PS_BACKEND_DRAINING ? "draining" : "down"; }

Result<std::map<uint32_t, ps_service_state>> read_states(const Instance& instance, uint64_t from) {
  std::map<uint32_t, ps_service_state> out;
  TRY_ASSIGN(const Table states, open_table(instance, from, "service_states"));
  for (uint32_t id = 0; id < states.count; ++id)
    if (const ps_service_state s = states.as<ps_service_state>()[id]; !is_plain(s)) out[id] = s;
  return out;
}

Result<std::vector<ps_service_state>> states_of(const Instance& instance, uint64_t generation, std::span<const uint32_t> ids) {
  TRY_ASSIGN(const Table states, open_table(instance, generation, "service_states"));
  std::vector<ps_service_state> out;
  for (const uint32_t id : ids) out.push_back(id < states.count ? states.as<ps_service_state>()[id] : ps_service_state{});
  return out;
}

Result<Fd> lock_states(const Instance& instance) {
  TRY(make_directories(instance.run, 0755));
  const std::string path = instance.run + "/states.lock";
  Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return fail_errno("cannot open " + path, errno);
  while (flock(file.get(), LOCK_EX) < 0)
    if (errno != EINTR) return fail_errno("cannot lock " + path, errno);
  return file;
}

Result<> take_over_services(const Instance& instance, uint64_t from, const Loaded& loaded, const std::vector<uint32_t>& reused, const std::vector<Service>& services,
                            const std::vector<BackendImage>& backends) {
  if (services.empty()) return {};
  TRY(take_over_flows(instance, from, loaded, reused));
  TRY(take_over_states(instance, from, loaded, reused));
  Rings rings;
  TRY_ASSIGN(rings.states, open_table(loaded.map("service_states")));
  TRY_ASSIGN(rings.services, open_table(loaded.map("services")));
  TRY_ASSIGN(rings.ring, open_table(loaded.map("service_ring")));
  std::set<std::string_view> concerned;  // the others are as they were compiled, with everybody up
  for (const BackendImage& b : backends)
    if (b.id < rings.states.count && !is_plain(rings.states.as<ps_service_state>()[b.id])) concerned.insert(b.service);
  return write_rings(rings, services, backends, concerned);
}

Result<FlowsNow> flows_now(const Instance& instance, uint64_t generation) {
  FlowsNow out;
  TRY_ASSIGN(const Table flows, open_table(instance, generation, "service_flows"));
  if (flows.count == 0) return out;
  out.places = uint64_t{flows.count - 1} * std::size(ps_flow_line{}.flow);
  each_flow(flows, [&](const ps_flow& f) {
    ++out.used;
    ++out.live[backend_in(f.word)];
  });
  if (auto map = open_pin(instance.pins("shared/service_flow_counts"))) {
    std::vector<ps_flow_counts> lanes(counter_lanes());
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(map->get(), &zero, lanes.data()) < 0) return fail_errno("cannot read the counts of the flow table", errno);
    for (const ps_flow_counts& lane : lanes) {
      out.counts.inserted += lane.inserted;
      out.counts.evicted += lane.evicted;
      out.counts.refused += lane.refused;
    }
  }
  return out;
}

Result<uint64_t> forget_flows(const Instance& instance, uint64_t generation, const std::vector<uint32_t>& ids) {
  uint64_t forgotten = 0;
  TRY_ASSIGN(const Table flows, open_table(instance, generation, "service_flows"));
  each_flow(flows, [&](ps_flow& f) {
    if (std::ranges::find(ids, backend_in(f.word)) == ids.end()) return;
    f.print = 0;
    ++forgotten;
  });
  return forgotten;
}

Result<> write_states(const Instance& instance, uint64_t generation, const std::vector<Service>& services, const std::vector<BackendImage>& backends,
                      const std::map<uint32_t, ps_service_state>& changed) {
  Rings rings;
  TRY_ASSIGN(rings.states, open_table(instance, generation, "service_states"));
  TRY_ASSIGN(rings.services, open_table(instance, generation, "services"));
  TRY_ASSIGN(rings.ring, open_table(instance, generation, "service_ring"));
  for (const auto& [id, state] : changed)
    if (id < rings.states.count) rings.states.as<ps_service_state>()[id] = state;
  std::set<std::string_view> concerned;
  for (const BackendImage& b : backends)
    if (changed.contains(b.id)) concerned.insert(b.service);
  return write_rings(rings, services, backends, concerned);
}

}  // namespace penstock
