// What the agent knows of the node, and what it does to it: nothing else of the agent touches the kernel's tables.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "app/agent/state.h"
#include "core/net/address.h"

namespace penstock {

struct WatchedBackend {
  uint32_t id = 0;              // stable: the same backend of the same service has it in every generation
  std::string name;
  Address address;
  uint16_t port = 0;            // that is checked; 0: none is needed
  bool enabled = true;          // by the file
  bool operator==(const WatchedBackend&) const = default;
};
struct WatchedService {
  std::string name;
  Health health;
  uint32_t min_backends = 0;
  std::vector<WatchedBackend> backends;
};

// A backend's entry in the state that generations share.
struct StoredState {
  Verdict verdict = Verdict::unknown;  // what the datapath goes by; unknown is in use
  bool failed = false;          // by its checks, also where it is kept in use
  uint32_t weight = 1000;       // of its configured weight, 1/1000
  int64_t since = 0;            // wall clock, ms, of the checks' last verdict; 0: unknown
  bool enabled = true;          // by operators; not written
};
struct StateChange {
  uint32_t id = 0;
  StoredState state;
};

class Datapath {
 public:
  virtual ~Datapath() = default;
  virtual Result<uint64_t> active() = 0;        // the generation that judges packets; 0: none.  Asked five times a second.
  virtual Result<std::vector<WatchedService>> services(uint64_t generation) = 0;  // those with `health`
  // Of each id, in that order; for services of the generation that was asked for last.
  virtual Result<std::vector<StoredState>> states(std::span<const uint32_t> ids) = 0;
  // Writes them and lets the tables that choose backends follow, in every loaded generation.
  virtual Result<> update(std::span<const StateChange> changes) = 0;
};

}  // namespace penstock
