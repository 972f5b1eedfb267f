#include "features/policy/explain.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock {
namespace {

const char* plural(size_t count) { return count == 1 ? "" : "s"; }

}  // namespace

std::vector<const Policy*> policies_on(const std::vector<Policy>& policies, const std::string& interface) {
  std::vector<const Policy*> out;
  for (const Policy& p : policies)
    if (std::ranges::find(p.attach, interface, &Attach::interface) != p.attach.end()) out.push_back(&p);
  return out;
}

Teller tell_policies(std::vector<const Policy*> policies, const std::vector<Slot>& slots) {
  return [policies = std::move(policies), &slots](const ps_trace_event& e, const ps_packet&) -> std::optional<Step> {
    if (e.kind == PS_TRACE_SOCKET) return Step{"sockets", e.value[0] ? "a socket of this host owns the packet" : "no socket of this host owns the packet"};
    if (e.kind == PS_TRACE_POLICY) {
      if (e.value[0] >= policies.size()) return {};
      const Policy& p = *policies[e.value[0]];
      return Step{"policy", fmt::format("{}: {} rule{}{}", p.name, p.rules.size(), plural(p.rules.size()), p.mode == Mode::audit ? ", audit only" : ""), p.at};
    }
    if (e.kind != PS_TRACE_RULE) return {};
    const auto slot = std::ranges::find(slots, e.value[1], &Slot::number);
    if (slot == slots.end()) return {};
    const auto policy = std::ranges::find(policies, slot->policy, [](const Policy* p) { return p->name; });
    size_t number = 0, of = 0;
    if (policy != policies.end()) {
      of = (*policy)->rules.size();
      number = static_cast<size_t>(std::ranges::find((*policy)->rules, slot->rule, &Rule::name) - (*policy)->rules.begin()) + 1;
    }
    return Step{"policy", fmt::format("{}: rule {} of {}, {}, matches: {}", slot->policy, number, of, slot->rule, verdict_name(slot->verdict)), slot->at};
  };
}

Step default_step(const std::vector<const Policy*>& policies, const Slot& slot) {
  const auto policy = std::ranges::find(policies, slot.policy, [](const Policy* p) { return p->name; });
  const size_t rules = policy == policies.end() ? 0 : (*policy)->rules.size();
  std::string text = rules == 0   ? fmt::format("{}: it has no rules", slot.policy)
                     : rules == 1 ? fmt::format("{}: its rule does not match", slot.policy)
                                  : fmt::format("{}: none of its {} rules matches", slot.policy, rules);
  if (slot.reason == PS_REASON_DEFAULT)
    text += fmt::format(", by default: {}", verdict_name(slot.verdict));
  else
    text += fmt::format("; {}: {}", reason_text(slot.reason), verdict_name(slot.verdict));
  return {"policy", std::move(text), slot.at};
}

}  // namespace penstock
