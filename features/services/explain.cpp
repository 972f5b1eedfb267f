#include "features/services/explain.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock {
namespace {

const char* phase_text(uint32_t phase) {
  switch (phase) {
    case PS_FLOW_NEW: return "opening";
    case PS_FLOW_LIVE: return "established";
    case PS_FLOW_CLOSING: return "closing";
    case PS_FLOW_RESET: return "reset";
    case PS_FLOW_NEW_UDP: return "seen once";
    case PS_FLOW_LIVE_UDP: return "seen more than once";
    default: return "unknown";
  }
}

const char* hop_text(uint32_t how) {
  switch (how) {
    case PS_HOP_REDIRECT: return "a route and a neighbour are known";
    case PS_HOP_STACK: return "XDP cannot send there, the host may: the neighbour is not known, the device is none to transmit by, or forwarding is off";
    case PS_HOP_NO_ROUTE: return "no route leads there";
    case PS_HOP_REPLAY: return "as told, in replay";
    default: return "nothing is known";
  }
}

}  // namespace

Teller tell_services(const std::vector<Service>& services, const std::vector<BackendImage>& backends) {
  const auto backend = [&backends](uint32_t id) {
    const auto found = std::ranges::find(backends, id, &BackendImage::id);
    return found == backends.end() ? std::string("no backend") : fmt::format("backend {}", found->backend);
  };
  return [&services, backend](const ps_trace_event& e, const ps_packet&) -> std::optional<Step> {
    if (e.kind == PS_TRACE_SERVICE_HOP) return Step{"services", fmt::format("the way to {}: {}", backend(e.value[0]), hop_text(e.value[1]))};
    if (e.kind == PS_TRACE_SERVICE_CLIENT_HOP) return Step{"services", fmt::format("the way to the client: {}", hop_text(e.value[0]))};
    if (e.kind == PS_TRACE_SERVICE_NAT)
      return Step{"services", fmt::format("translated: to port {} of {}{}", e.value[1], backend(e.value[0]), e.value[2] ? fmt::format(", from port {} of this node", e.value[2]) : std::string())};
    if (e.kind == PS_TRACE_SERVICE_REPLY && e.value[0] < services.size())
      return Step{"services", fmt::format("a reply of {} of {}: translated, from the frontend to port {} of its client", backend(e.value[1]), services[e.value[0]].name, e.value[2]), services[e.value[0]].at};
    if (e.kind != PS_TRACE_SERVICE && e.kind != PS_TRACE_SERVICE_FLOW && e.kind != PS_TRACE_SERVICE_RING) return {};
    if (e.value[0] >= services.size()) return {};
    const Service& service = services[e.value[0]];
    if (e.kind == PS_TRACE_SERVICE) return Step{"services", fmt::format("a frontend of {}", service.name), service.at};
    if (e.kind == PS_TRACE_SERVICE_FLOW) return Step{"services", fmt::format("the flow table knows the connection: {}, {}", backend(e.value[1]), phase_text(e.value[2])), service.at};
    return Step{"services", e.value[1] ? fmt::format("a new connection: {}", backend(e.value[1])) : std::string("a new connection, and no backend takes it"), service.at};
  };
}

}  // namespace penstock
