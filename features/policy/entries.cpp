#include "features/policy/entries.h"

#include <algorithm>
#include <optional>

namespace penstock {
namespace {

constexpr uint8_t icmp = 1, icmpv6 = 58;
constexpr PortRange any_port{};

// The ranges of ports that match; empty: none does.
std::vector<PortRange> ranges(const PortMatch& match) {
  if (match.any()) return {any_port};
  return match.negate ? complement(match.ranges, any_port.last) : match.ranges;
}

// One thing of several that a rule lists for an address: a set, a prefix, or nothing to ask.
struct Choice {
  uint8_t flags = 0;
  uint32_t set = 0;
  std::optional<Prefix> prefix{};
};

ps_rule blank() {
  ps_rule out{};
  for (int side = 0; side < 2; ++side) {
    out.port_first[side] = any_port.first;
    out.port_last[side] = any_port.last;
  }
  return out;
}

ps_rule skip_of(uint8_t flags) {
  ps_rule out = blank();
  out.flags = flags;
  out.verdict = PS_RULE_SKIP;
  return out;
}

// The indexes of the sets that make up `match`: each set of the file by itself, since it may gain elements at run
// time, and one for the prefixes that the rule lists, unless they are told one by one.
std::vector<uint32_t> alternatives(const AddressMatch& match, bool told, SetRegistry& sets) {
  std::vector<uint32_t> out;
  if (match.any) return out;
  for (const std::string& name : match.sets) out.push_back(sets.named(name));
  if (!match.prefixes.empty() && !told) out.push_back(sets.nameless(match.prefixes));
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

// The choices of one side; what is told by skipping the rule goes to `skips`.
std::vector<Choice> choices_of(const AddressMatch& match, int side, size_t listed, SetRegistry& sets, std::vector<ps_rule>& skips) {
  const uint8_t positive = side == PS_SOURCE ? PS_RULE_FROM : PS_RULE_TO;
  const uint8_t negative = side == PS_SOURCE ? PS_RULE_FROM_NEGATED : PS_RULE_TO_NEGATED;
  if (match.any) return match.negate ? std::vector<Choice>{} : std::vector<Choice>{{}};
  const bool told = !match.negate && match.prefixes.size() <= listed;
  const std::vector<uint32_t> asked = alternatives(match, told, sets);
  std::vector<Choice> out;
  if (!match.negate) {
    for (const uint32_t set : asked) out.push_back({positive, set});
    if (told)
      for (const Prefix& prefix : match.prefixes) out.push_back({0, 0, prefix});
  } else if (asked.size() == 1) {
    out.push_back({static_cast<uint8_t>(positive | negative), asked.front()});
  } else {
    out.push_back({});
    for (const uint32_t set : asked) {
      skips.push_back(skip_of(positive));
      skips.back().set[side] = set;
    }
  }
  return out;
}

// What all entries of the rule have in common.
ps_rule base_of(const Rule& rule, const Outcome& outcome) {
  ps_rule out = blank();
  out.verdict = outcome.verdict;
  out.slot = outcome.slot;
  if (rule.proto) {
    out.flags |= PS_RULE_PROTO;
    out.proto = *rule.proto;
    if (*rule.proto == icmp) out.needs |= PS_IPV4;
    if (*rule.proto == icmpv6) out.needs |= PS_IPV6;
  }
  if (rule.socket) out.flags |= PS_RULE_SOCKET;
  if (rule.socket || !rule.from_port.any() || !rule.to_port.any()) out.needs |= PS_PORTS;
  return out;
}

void ask_extra(ps_rule& entry, const ps_rule_extra& extra, ExtraTable& extras) {
  if (!extra.kinds) return;
  entry.flags |= PS_RULE_EXTRA;
  entry.extra = extras.add(extra);
}

}  // namespace

bool append_rule(const Rule& rule, const Outcome& outcome, size_t room, const EntryOptions& options, SetRegistry& sets,
                 ExtraTable& extras, std::vector<ClassifierRule>& out) {
  std::vector<ps_rule> skips;
  const std::vector<Choice> from = choices_of(rule.from, PS_SOURCE, options.listed, sets, skips);
  const std::vector<Choice> to = choices_of(rule.to, PS_DESTINATION, options.listed, sets, skips);
  for (const ps_rule_extra& extra : extra_exceptions(rule)) {
    skips.push_back(skip_of(0));
    ask_extra(skips.back(), extra, extras);
  }
  const auto more = extra_alternatives(rule, options.interfaces, room);
  const std::vector<PortRange> from_ports = ranges(rule.from_port), to_ports = ranges(rule.to_port);
  if (!more) return false;
  size_t count = from_ports.size() * to_ports.size();  // no factor is over 2^17
  for (const size_t factor : {from.size(), to.size(), more->size()}) {
    count *= factor;
    if (count > room) return false;
  }
  if (count == 0) return true;
  if (count + skips.size() > room) return false;

  std::vector<ClassifierRule> entries;
  entries.reserve(count);
  const ps_rule base = base_of(rule, outcome);
  for (const ExtraAlternative& extra : *more)
    for (const PortRange& from_port : from_ports)
      for (const PortRange& to_port : to_ports)
        for (const Choice& source : from)
          for (const Choice& destination : to) {
            ps_rule entry = base;
            entry.needs |= extra.needs;
            if (extra.proto) {
              entry.flags |= PS_RULE_PROTO;
              entry.proto = *extra.proto;
            }
            ask_extra(entry, extra.extra, extras);
            entry.flags |= source.flags | destination.flags;
            entry.set[PS_SOURCE] = source.set;
            entry.set[PS_DESTINATION] = destination.set;
            entry.port_first[PS_SOURCE] = from_port.first;
            entry.port_last[PS_SOURCE] = from_port.last;
            entry.port_first[PS_DESTINATION] = to_port.first;
            entry.port_last[PS_DESTINATION] = to_port.last;
            entry.then = static_cast<__u32>(count - 1 - entries.size()) << 8 | outcome.then;
            entries.push_back({entry, {source.prefix, destination.prefix}, !entries.empty()});
          }
  for (size_t i = 0; i < skips.size(); ++i) {
    skips[i].slot = static_cast<uint32_t>(skips.size() - 1 - i + entries.size());
    out.push_back({skips[i], {}, false});
  }
  out.insert(out.end(), entries.begin(), entries.end());
  return true;
}

}  // namespace penstock
