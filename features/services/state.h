// What services keep in the kernel beyond generations: the connections, and what is known of backends.
#pragma once
#include <map>
#include <span>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/plan/instance.h"
#include "core/plan/loader.h"
#include "features/services/compile.h"

namespace penstock {

const char* state_name(uint8_t state);  // of enum ps_backend_state: "up", "draining", "down"

// The states of backends that generation `from` knows, by id; those that are up in every way are left out.
Result<std::map<uint32_t, ps_service_state>> read_states(const Instance& instance, uint64_t from);

// Of each id, as generation `generation` has it.
Result<std::vector<ps_service_state>> states_of(const Instance& instance, uint64_t generation, std::span<const uint32_t> ids);

// Held by whoever changes states: what is written is made of what was read.  Waits; nobody holds it for longer than it takes
// to write rings.
Result<Fd> lock_states(const Instance& instance);

// Brings what generation `from` keeps into the maps of `loaded`, where these are others, and makes a new table's keys.
// `reused`: ids that belong to another backend now: no connection may name them any more.  Rings, which were compiled as if
// everybody were up, become what the states say.
Result<> take_over_services(const Instance& instance, uint64_t from, const Loaded& loaded, const std::vector<uint32_t>& reused, const std::vector<Service>& services,
                            const std::vector<BackendImage>& backends);

// Where the flow table stands.
struct FlowsNow {
  uint64_t places = 0;                       // in the table
  std::map<uint32_t, uint64_t> live;         // connections by backend id
  uint64_t used = 0;                         // all of them
  ps_flow_counts counts{};                   // of all CPUs
};
Result<FlowsNow> flows_now(const Instance& instance, uint64_t generation);

// Forgets the connections of these backends; returns how many.
Result<uint64_t> forget_flows(const Instance& instance, uint64_t generation, const std::vector<uint32_t>& ids);

// Writes states (by id) and then the rings of the services concerned, in generation `generation`, of which `services` and
// `backends` are.  Every moment of it is sound: a packet sees a backend's old state or the new, a ring's old place or the new.
Result<> write_states(const Instance& instance, uint64_t generation, const std::vector<Service>& services, const std::vector<BackendImage>& backends,
                      const std::map<uint32_t, ps_service_state>& changed);

}  // namespace penstock
