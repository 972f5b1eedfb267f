#include "app/limits.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr uint8_t flag_syn = 2, flag_ack = 16;

// What of the rule's packets anyone can send with another's address; empty: who sends them has answered before.
std::string spoofable(const Rule& rule) {
  if (rule.socket) return {};
  if (!rule.proto) return "packets of any protocol";
  if (*rule.proto == IPPROTO_UDP) return "UDP packets";
  if (*rule.proto != IPPROTO_TCP) return "such packets";
  if (rule.flags.set & flag_ack || rule.flags.one_of) return {};
  return rule.flags.set & flag_syn ? "TCP packets that open a connection" : "such TCP packets";
}

// Whose limit is counted in this slot.
std::string owner_of(const Slot& slot) { return slot.policy.empty() ? slot.interface + " (wireguard)" : slot.policy + "/" + slot.rule; }

}  // namespace

Result<> verify_limits(const Document& document, Config& config) {
  Error errors;
  for (const Policy& policy : config.policies)
    for (const Rule& rule : policy.rules) {
      const Limit* limit = rule.extensions.get<Limit>();
      if (!limit || !limit->ban) continue;
      if (rule.action == Action::accept) {
        errors.diagnostics.push_back(document.diagnostic(limit->at, fmt::format("`ban` and `action: accept`: the rule `{}` matches what is within the rate, so there is no packet of an offender that it could match", rule.name),
                                                         "ban by a rule with `action: drop` in front of this one"));
        continue;
      }
      const std::string what = spoofable(rule);
      if (what.empty()) continue;
      Diagnostic d = document.diagnostic(limit->at, fmt::format("the ban of {}/{}: anyone can send {} in another's name, and have others banned", policy.name, rule.name, what),
                                         "leave out who must never be banned: `from: { not: admins }`, or a rule that accepts them in front");
      config.warnings.push_back(std::move(d));
    }
  if (!errors.diagnostics.empty()) return Failure(std::move(errors));
  return {};
}

Limit handshake_limit(const WireGuard& guard) {
  Limit limit;
  limit.rate = *guard.handshakes;
  limit.burst = default_burst(limit.rate);
  limit.at = guard.handshakes_at;
  return limit;
}

std::vector<RuleLimit> rule_limits(const LiveLimits& live, const std::vector<Slot>& slots) {
  std::vector<RuleLimit> out;
  for (const ps_limit& limit : live.limits)
    if (const auto slot = std::ranges::find(slots, limit.id, &Slot::number); slot != slots.end()) out.push_back({owner_of(*slot), limit});
  return out;
}

LimitById limit_by_id(const Config& config, const std::vector<Slot>& slots) {
  return [&config, &slots](uint32_t id) -> std::optional<NamedLimit> {
    const auto slot = std::ranges::find(slots, id, &Slot::number);
    if (slot == slots.end()) return {};
    if (const auto interface = std::ranges::find(config.interfaces, slot->interface, &Interface::name); interface != config.interfaces.end()) {
      const auto* guard = interface->extensions.get<WireGuard>();
      return guard && guard->handshakes ? std::optional(NamedLimit{owner_of(*slot), handshake_limit(*guard)}) : std::nullopt;
    }
    const auto policy = std::ranges::find(config.policies, slot->policy, &Policy::name);
    if (policy == config.policies.end()) return {};
    const auto rule = std::ranges::find(policy->rules, slot->rule, &Rule::name);
    const Limit* limit = rule == policy->rules.end() ? nullptr : rule->extensions.get<Limit>();
    return limit ? std::optional(NamedLimit{owner_of(*slot), *limit}) : std::nullopt;
  };
}

}  // namespace penstock
