// policies: ordered rules, first match decides, attached to the ingress of interfaces.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/extensions.h"
#include "core/net/address.h"

namespace penstock {

enum class Action { accept, drop };
enum class Mode { enforce, audit };

// Which addresses: any, or those in one of the prefixes or sets; negate turns it round.
struct AddressMatch {
  bool any = true;
  bool negate = false;
  std::vector<Prefix> prefixes;
  std::vector<std::string> sets;
  bool operator==(const AddressMatch&) const = default;
};

struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;  // inclusive
  auto operator<=>(const PortRange&) const = default;
};

struct PortMatch {
  bool negate = false;
  std::vector<PortRange> ranges;  // sorted, disjoint, not adjacent; empty: any
  bool any() const { return ranges.empty(); }
  bool operator==(const PortMatch&) const = default;
};

struct Rule {
  std::string name;
  Location at;
  AddressMatch from, to;
  std::optional<uint8_t> proto;
  PortMatch from_port, to_port;   // only with proto tcp or udp; never match a later fragment
  bool socket = false;            // a socket of this host owns the packet
  Action action = Action::accept;
  Extensions extensions;          // what other features' keys say of this rule, by type
};

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
