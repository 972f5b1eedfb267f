#include "features/sets/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "features/sets/place.h"

namespace penstock {
namespace {

Prefix prefix_of(const Address& a, unsigned length) {
  const Address mask = Prefix::mask(length);
  return {{a.hi & mask.hi, a.lo & mask.lo}, static_cast<uint8_t>(length)};
}

// The longest of the sorted prefixes that covers the address.
std::optional<Prefix> longest(const std::vector<Prefix>& prefixes, const Address& a, bool ipv6) {
  for (unsigned length = 128; length + 1 > (ipv6 ? 0u : 96u); --length) {
    const Prefix p = prefix_of(a, length);
    if (p.is_v4() != ipv6 && std::ranges::binary_search(prefixes, p)) return p;
    if (length == 0) break;
  }
  return {};
}

}  // namespace

Teller tell_sets(SetNames names) {
  return [names = std::move(names)](const ps_trace_event& e, const ps_packet& packet) -> std::optional<Step> {
    if (e.kind != PS_TRACE_SET && e.kind != PS_TRACE_SET_RUN_TIME) return {};
    const auto side = static_cast<ps_side>(e.value[1] & 1);
    const Address address = address_of(packet.outer, side);
    const bool ipv6 = packet.outer.flags & PS_IPV6;
    Step step{"sets", {}};
    const auto image = std::ranges::find(*names.images, e.value[0], &SetImage::index);
    const Set* set = nullptr;
    const std::vector<Prefix>* prefixes = nullptr;
    if (image != names.images->end()) {
      const auto found = std::ranges::find(*names.sets, image->name, &Set::name);
      if (found != names.sets->end()) prefixes = &(set = &*found)->prefixes;
    } else {
      prefixes = names.list(e.value[0]);
    }
    const std::string name = set ? "set " + set->name : "the rule's own list of prefixes";
    step.text = fmt::format("{} {}", side == PS_SOURCE ? "source" : "destination", address.text());
    if (e.kind == PS_TRACE_SET && e.value[2] == 0) {
      step.text += " is not in " + name;
      if (set) step.at = set->at;
      return step;
    }
    step.text += " is in " + name;
    if (e.kind == PS_TRACE_SET_RUN_TIME) {
      // The event's length counts from the top of the family.
      step.text += fmt::format(": run-time element {}", prefix_of(address, e.value[2] + (ipv6 ? 0 : 96)).text());
      return step;
    }
    const auto element = prefixes ? longest(*prefixes, address, ipv6) : std::nullopt;
    if (!element) return step;
    step.text += ": element " + element->text();
    if (set) step.at = place_of(*set, *element, names.text);
    return step;
  };
}

}  // namespace penstock
