#include "app/health.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/types.h"
#include "features/services/health_keys.h"

namespace penstock {
namespace {

struct MinBackends {
  uint32_t number = 1;
};
constexpr uint32_t default_min_backends = 1;

Type<MinBackends> min_backends() {
  const Type<uint32_t> number = min_backends_type();
  return {number.shape, [decode = number.decode](Decoder& d, const Node& node, MinBackends& out) { return decode(d, node, out.number); }};
}

}  // namespace

std::vector<Extension> health_keys() { return {extension("health", health_type(), health_doc()), extension("min-backends", min_backends(), min_backends_doc())}; }

const Health* health_of(const Service& service) { return service.extensions.get<Health>(); }

uint32_t min_backends_of(const Service& service) {
  const auto* least = service.extensions.get<MinBackends>();
  return least ? least->number : default_min_backends;
}

std::string health_text_of(const Service& service) {
  std::string out;
  if (const Health* health = health_of(service)) out = " health " + health_text(*health);
  if (service.extensions.get<MinBackends>()) out += fmt::format(" min-backends {}", min_backends_of(service));
  return out;
}

std::optional<uint16_t> checked_port(const Service& service, const Health& health) {
  if (health.port) return health.port;
  const Frontend& first = service.frontends.front();
  const bool one = std::ranges::all_of(service.frontends, [&](const Frontend& f) { return f.one_port() && f.ports.first == first.ports.first; });
  return one ? std::optional(first.ports.first) : std::nullopt;
}

}  // namespace penstock
