// What a rule asks for beyond addresses, protocol, ports and sockets -> entries of map `policy_extras`.  Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "features/policy/config.h"
#include "features/policy/tables.h"

namespace penstock {

// One conjunction of what a rule asks for; the rule matches where one of its alternatives does.
struct ExtraAlternative {
  ps_rule_extra extra{};            // kinds 0: nothing is asked
  uint8_t needs = 0;                // enum ps_packet_flags
  std::optional<uint8_t> proto;     // that the ICMP type belongs to
};

// `interfaces`: those that the policy is attached to, with their numbers (ps_hook_const.interface).
using InterfaceNumbers = std::vector<std::pair<std::string, uint32_t>>;
// Empty: no packet can match.  Nothing: more than `room` of them.
std::optional<std::vector<ExtraAlternative>> extra_alternatives(const Rule& rule, const InterfaceNumbers& interfaces, size_t room);

// Packets with one of these do not match: the addresses of a negated MAC match.
std::vector<ps_rule_extra> extra_exceptions(const Rule& rule);

// The entries, equal ones once.
class ExtraTable {
 public:
  uint32_t add(const ps_rule_extra& extra);
  const std::vector<ps_rule_extra>& entries() const { return entries_; }

 private:
  std::vector<ps_rule_extra> entries_;
  std::unordered_map<std::string, uint32_t> known_;
};

}  // namespace penstock
