#include "app/services.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

#include "app/health.h"
#include "features/syn_proxy/config.h"

namespace penstock {

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
