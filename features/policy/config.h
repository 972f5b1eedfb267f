// policies: ordered rules, first match decides, attached to the ingress of interfaces.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/extensions.h"
#include "core/net/address.h"
#include "core/net/mac.h"
#include "core/net/number_range.h"

namespace penstock {

enum class Action { accept, drop, reject, continue_ };
enum class Mode { enforce, audit };

// Which addresses: any, or those in one of the prefixes or sets; negate turns it round.
struct AddressMatch {
  bool any = true;
  bool negate = false;
  std::vector<Prefix> prefixes;
  std::vector<std::string> sets;
  bool operator==(const AddressMatch&) const = default;
};

// Which numbers; negate turns it round.
struct NumberMatch {
  bool negate = false;
  std::vector<NumberRange> ranges;  // merged; empty: any
  bool any() const { return ranges.empty(); }
  bool operator==(const NumberMatch&) const = default;
};

using PortRange = NumberRange;
struct PortMatch : NumberMatch {
  std::vector<std::string> sets;    // port sets that were named: their ports are among the ranges once the file is read
  bool operator==(const PortMatch&) const = default;
};

// The byte with FIN (1) to CWR (128): all of `set`, none of `clear`, and one of `one_of` if there are any.
struct FlagsMatch {
  uint8_t set = 0, clear = 0, one_of = 0;
  bool any() const { return !set && !clear && !one_of; }
  bool operator==(const FlagsMatch&) const = default;
};

struct IcmpKind {
  bool v6 = false;
  uint8_t type = 0;
  std::optional<uint8_t> code;      // nothing: any
  bool operator==(const IcmpKind&) const = default;
};

// One of the kinds; none: any packet.
struct IcmpMatch {
  std::vector<IcmpKind> kinds;
  bool by_number = false;           // a type was given by its number: the rule must say of which protocol
  bool operator==(const IcmpMatch&) const = default;
};

enum class FragmentMatch { every, first, later, any, none };  // every: not asked; any: a fragment, first or later
enum class CountPer { none, source, destination };
enum class OptionsMatch { every, present, absent };

struct MacMatch {
  bool negate = false;
  std::vector<Mac> addresses;       // sorted, no duplicates; empty: any
  bool operator==(const MacMatch&) const = default;
};

struct InterfaceMatch {
  bool negate = false;
  std::vector<std::string> names;   // the file's; empty: any
  bool operator==(const InterfaceMatch&) const = default;
};

inline constexpr uint16_t no_vlan = 4096;  // in Rule::vlan the number of a frame without a tag

struct Rule {
  std::string name;
  Location at;
  AddressMatch from, to;
  std::optional<uint8_t> proto;
  PortMatch from_port, to_port;   // only with proto tcp or udp; never match a later fragment
  FlagsMatch flags;               // proto is tcp then
  IcmpMatch icmp;                 // proto is icmp or icmpv6 where all kinds are of one family
  NumberMatch vlan;               // the outer tag's number, or no_vlan
  NumberMatch dscp;
  NumberMatch ttl;                // or hop limit
  NumberMatch length;             // of the IP datagram, bytes
  FragmentMatch fragment = FragmentMatch::every;
  OptionsMatch options = OptionsMatch::every;  // of IPv4; of IPv6 extension headers but the fragment header
  MacMatch mac;                   // the source's
  InterfaceMatch interface;
  bool socket = false;            // a socket of this host owns the packet
  bool audit = false;             // count what it would do, and go on
  CountPer count = CountPer::none;
  Action action = Action::accept;
  bool limited = false;           // `limit` is among the extensions: some of the packets that it would match go on behind it
  Extensions extensions;          // what other features' keys say of this rule, by type
};

// May a packet that matches all that the rule says go on with the next?
inline bool perhaps_goes_on(const Rule& rule) { return rule.audit || rule.limited || rule.action == Action::continue_; }

struct Attach {
  std::string interface;          // the file's name of it; the hook is its ingress
  Location at;
};

struct Policy {
  std::string name;
  Location at;
  std::vector<Attach> attach;
  Mode mode = Mode::enforce;
  Action default_action = Action::accept;
  Location default_at;
  std::vector<Rule> rules;
};

}  // namespace penstock
