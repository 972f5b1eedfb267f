#include "features/limits/explain.h"

#include <fmt/format.h>

#include "core/config/duration.h"
#include "features/limits/tables.h"

namespace penstock {
namespace {

std::string prefix_text(const ps_packet& packet, ps_side side, const Limit& limit) {
  const Address a = address_of(packet.outer, side);
  const auto length = static_cast<uint8_t>(a.is_v4() ? 96 + limit.length4 : limit.length6);
  const Address mask = Prefix::mask(length);
  return Prefix{{a.hi & mask.hi, a.lo & mask.lo}, length}.text();
}

// Whose bucket it is.
std::string key_text(const ps_packet& packet, const Limit& limit) {
  switch (limit.per) {
    case LimitPer::source: return prefix_text(packet, PS_SOURCE, limit);
    case LimitPer::destination: return prefix_text(packet, PS_DESTINATION, limit);
    case LimitPer::source_destination: return prefix_text(packet, PS_SOURCE, limit) + " > " + prefix_text(packet, PS_DESTINATION, limit);
    case LimitPer::flow: return "the flow";
    case LimitPer::rule: return "the rule";
  }
  return {};
}

}  // namespace

Teller tell_limits(LimitById by_id) {
  return [by_id = std::move(by_id)](const ps_trace_event& e, const ps_packet& packet) -> std::optional<Step> {
    if (e.kind != PS_TRACE_LIMIT) return {};
    const auto named = by_id(e.value[0]);
    if (!named) return {};
    const Limit& limit = named->limit;
    Step step{"limits", fmt::format("{}: {}", named->rule, key_text(packet, limit)), limit.at};
    if (e.value[1] == PS_LIMIT_IS_BANNED) {
      step.text += fmt::format(" is banned, for {} more", duration_text(std::chrono::seconds(e.value[2])));
      return step;
    }
    const bool bytes = limit.rate.counted == Counted::bytes;
    const double left = e.value[2] * 1e-6 * static_cast<double>(limit.rate.amount) / (bytes ? 8 : 1) / limit.rate.seconds;
    step.text += fmt::format(" is {} {}: {:.{}f} of {} {} were left", e.value[1] == PS_LIMIT_IS_WITHIN ? "within" : "over", rate_text(limit.rate), left, bytes ? 0 : 1,
                             limit.burst, bytes ? "bytes" : "packets");
    return step;
  };
}

}  // namespace penstock
