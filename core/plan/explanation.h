// What is common to all explanations of a packet: steps, events as they stand, the packet in words.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "bpf/trace.h"
#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

// One thing that a stage did with the packet.
struct Step {
  std::string stage;   // "parse", "sets", "policy"
  std::string text;
  Location at{};       // in the user's files, where there is such a place
};

// A feature's words for the events of its stages; nothing for those of others.
using Teller = std::function<std::optional<Step>(const ps_trace_event& event, const ps_packet& packet)>;

// The text of bpf/trace.def with the event's values.
Step plain_step(const ps_trace_event& event);

// A datagram as parsed: "IPv4 tcp 192.0.2.7:4000 > 198.51.100.9:22, flags syn, ttl 64".
std::string datagram_text(const ps_datagram& datagram);
// The whole packet, VLAN tags first; the quoted packet is left out.
std::string packet_text(const ps_packet& packet);

Address address_of(const ps_datagram& datagram, ps_side side);

}  // namespace penstock
