// The section `services` of the file: frontends, and the backends that their connections go to.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/extensions.h"
#include "core/net/address.h"
#include "core/net/number_range.h"
#include "features/services/tables.h"

namespace penstock {

enum class ServiceMode { dsr, nat };
enum class Scheduler { maglev, round_robin, random };
enum class Affinity { flow, client };
enum class BackendState { up, draining, down, maintenance };

// An address with a protocol and ports, all of them where the file names none.
struct Frontend {
  Location at;
  Address address;
  uint8_t protocol = 0;          // IPPROTO_TCP or IPPROTO_UDP
  NumberRange ports;             // host order; 0 to 65535: all
  bool one_port() const { return ports.first == ports.last; }
  std::string text() const;      // "198.51.100.10:443/tcp"
};

struct Backend {
  std::string name;
  Location at;
  std::optional<Address> address;   // none: this node
  uint32_t weight = 1;
  BackendState state = BackendState::up;
  uint32_t path_mtu = 0;            // bytes; 0: the route knows
  uint32_t port = 0;                // that frontends' packets are translated to; 0: theirs
  Extensions extensions;
};

// Who may use a service.
struct SourceMatch {
  std::vector<Prefix> prefixes;
  std::vector<std::string> sets;
  bool any() const { return prefixes.empty() && sets.empty(); }
};

struct Service {
  std::string name;
  Location at;
  std::vector<Frontend> frontends;  // never empty
  Location frontends_at;
  std::vector<std::string> on;      // interfaces; empty: all
  SourceMatch from;
  ServiceMode mode = ServiceMode::dsr;
  Location mode_at;
  bool source_nat = false;          // with ServiceMode::nat: the source is translated, too
  Location source_nat_at;
  ps_encap encap = PS_ENCAP_IPIP;   // PS_ENCAP_NONE with ServiceMode::nat
  std::optional<ps_encap> encap_said;
  Location encap_at;
  std::optional<Prefix> outer_source;
  Location outer_source_at;
  uint32_t gue_port = 6080;
  Scheduler scheduler = Scheduler::maglev;
  uint32_t table_size = 0;          // of the ring; 0: chosen by the number of backends
  Location table_size_at;
  Affinity affinity = Affinity::flow;
  uint32_t mss = 0;                 // the most that a SYN may announce, bytes; 0: as it is
  std::vector<Backend> backends;
  Extensions extensions;
};

// The flow table of the node.
struct Flows {
  uint32_t entries = 262'144;
  uint32_t tcp_idle = 3600;         // seconds
  uint32_t udp_idle = 120;
  NumberRange source_ports{20'000, 32'767};   // of this node, for translated sources; below those that Linux gives out itself
};

std::string service_text(const Service& service);  // tells any two apart, but for names of backends
std::string backend_text(const Backend& backend);

}  // namespace penstock
