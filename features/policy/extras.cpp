#include "features/policy/extras.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>

namespace penstock {
namespace {

constexpr uint8_t icmp = 1, icmpv6 = 58;

// The ranges that match, of numbers up to `most`.
std::vector<NumberRange> ranges(const NumberMatch& match, uint16_t most) {
  return match.negate ? complement(match.ranges, most) : match.ranges;
}

ps_rule_extra with_mac(ps_rule_extra extra, const Mac& mac) {
  extra.kinds |= PS_EXTRA_MAC;
  std::memcpy(extra.mac, mac.bytes.data(), sizeof extra.mac);
  return extra;
}

// The part that is the same in all alternatives.
ExtraAlternative base_of(const Rule& rule) {
  ExtraAlternative out;
  ps_rule_extra& e = out.extra;
  if (!rule.flags.any()) {
    e.kinds |= PS_EXTRA_FLAGS;
    e.tcp_mask = rule.flags.set | rule.flags.clear;
    e.tcp_value = rule.flags.set;
    e.tcp_one_of = rule.flags.one_of;
    out.needs |= PS_PORTS;
  }
  if (!rule.dscp.any()) {
    e.kinds |= PS_EXTRA_DSCP;
    for (const NumberRange& r : ranges(rule.dscp, 63))
      for (unsigned value = r.first; value <= r.last; ++value) e.dscp |= 1ull << value;
  }
  if (rule.fragment != FragmentMatch::every) {
    e.kinds |= PS_EXTRA_FRAGMENT;
    switch (rule.fragment) {
      case FragmentMatch::first: e.fragment = PS_FRAGMENT_FIRST; break;
      case FragmentMatch::later: e.fragment = PS_FRAGMENT_LATER; break;
      case FragmentMatch::any: e.fragment = PS_FRAGMENT_FIRST | PS_FRAGMENT_LATER; break;
      case FragmentMatch::none: e.fragment = PS_FRAGMENT_NONE; break;
      case FragmentMatch::every: break;
    }
  }
  if (rule.options != OptionsMatch::every) {
    e.kinds |= PS_EXTRA_OPTIONS;
    e.options = rule.options == OptionsMatch::present;
  }
  return out;
}

using Change = std::function<void(ExtraAlternative&)>;

// What each kind of match that lists several things adds, one change for each thing.
std::vector<std::vector<Change>> changes_of(const Rule& rule, const InterfaceNumbers& interfaces) {
  std::vector<std::vector<Change>> out;
  if (!rule.icmp.kinds.empty()) {
    auto& kinds = out.emplace_back();
    for (const IcmpKind& kind : rule.icmp.kinds)
      kinds.push_back([kind](ExtraAlternative& a) {
        a.extra.kinds |= PS_EXTRA_ICMP;
        a.extra.icmp_type = kind.type;
        a.extra.icmp_code_first = kind.code.value_or(0);
        a.extra.icmp_code_last = kind.code.value_or(255);
        a.needs |= PS_ICMP | (kind.v6 ? PS_IPV6 : PS_IPV4);
        a.proto = kind.v6 ? icmpv6 : icmp;
      });
  }
  if (!rule.vlan.any()) {
    auto& vlans = out.emplace_back();
    for (const NumberRange& r : ranges(rule.vlan, no_vlan))
      vlans.push_back([r](ExtraAlternative& a) {
        a.extra.kinds |= PS_EXTRA_VLAN;
        a.extra.vlan_first = r.first;
        a.extra.vlan_last = r.last;
      });
  }
  if (!rule.ttl.any()) {
    auto& ttls = out.emplace_back();
    for (const NumberRange& r : ranges(rule.ttl, 255))
      ttls.push_back([r](ExtraAlternative& a) {
        a.extra.kinds |= PS_EXTRA_HOP_LIMIT;
        a.extra.hop_limit_first = static_cast<__u8>(r.first);
        a.extra.hop_limit_last = static_cast<__u8>(r.last);
      });
  }
  if (!rule.length.any()) {
    auto& lengths = out.emplace_back();
    for (const NumberRange& r : ranges(rule.length, 65535))
      lengths.push_back([r](ExtraAlternative& a) {
        a.extra.kinds |= PS_EXTRA_LENGTH;
        a.extra.length_first = r.first;
        a.extra.length_last = r.last;
      });
  }
  if (!rule.mac.addresses.empty() && !rule.mac.negate) {
    auto& macs = out.emplace_back();
    for (const Mac& mac : rule.mac.addresses) macs.push_back([mac](ExtraAlternative& a) { a.extra = with_mac(a.extra, mac); });
  }
  if (!rule.interface.names.empty()) {
    auto& numbers = out.emplace_back();
    for (const auto& [name, number] : interfaces)
      if ((std::ranges::find(rule.interface.names, name) != rule.interface.names.end()) != rule.interface.negate)
        numbers.push_back([number](ExtraAlternative& a) {
          a.extra.kinds |= PS_EXTRA_INTERFACE;
          a.extra.interface = number;
        });
    if (numbers.size() == interfaces.size()) out.pop_back();  // all of them: nothing to ask
  }
  return out;
}

}  // namespace

std::optional<std::vector<ExtraAlternative>> extra_alternatives(const Rule& rule, const InterfaceNumbers& interfaces, size_t room) {
  std::vector<ExtraAlternative> out = {base_of(rule)};
  for (const std::vector<Change>& changes : changes_of(rule, interfaces)) {
    if (out.size() * changes.size() > room) return std::nullopt;
    std::vector<ExtraAlternative> next;
    for (const ExtraAlternative& before : out)
      for (const Change& change : changes) {
        next.push_back(before);
        change(next.back());
      }
    out = std::move(next);
  }
  return out;
}

std::vector<ps_rule_extra> extra_exceptions(const Rule& rule) {
  std::vector<ps_rule_extra> out;
  if (rule.mac.negate)
    for (const Mac& mac : rule.mac.addresses) out.push_back(with_mac({}, mac));
  return out;
}

uint32_t ExtraTable::add(const ps_rule_extra& extra) {
  const auto [at, fresh] = known_.try_emplace(std::string(reinterpret_cast<const char*>(&extra), sizeof extra), static_cast<uint32_t>(entries_.size()));
  if (fresh) entries_.push_back(extra);
  return at->second;
}

}  // namespace penstock
