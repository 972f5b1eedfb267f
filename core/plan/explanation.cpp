#include "core/plan/explanation.h"

#include <fmt/args.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace penstock {
namespace {

std::string protocol_text(unsigned protocol) {
  switch (protocol) {
    case IPPROTO_TCP: return "tcp";
    case IPPROTO_UDP: return "udp";
    case IPPROTO_ICMP: return "icmp";
    case IPPROTO_ICMPV6: return "icmpv6";
    default: return fmt::format("protocol {}", protocol);
  }
}

std::string endpoint(const ps_datagram& d, ps_side side) {
  const std::string address = address_of(d, side).text();
  if (!(d.flags & PS_PORTS)) return address;
  return d.flags & PS_IPV6 ? fmt::format("[{}]:{}", address, d.port[side]) : fmt::format("{}:{}", address, d.port[side]);
}

std::string tcp_flags_text(unsigned flags) {
  static constexpr const char* names[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"};
  std::string out;
  for (unsigned i = 0; i < 8; ++i)
    if (flags & 1u << i) out += fmt::format(" {}", names[i]);
  return out.empty() ? " none" : out;
}

}  // namespace

Address address_of(const ps_datagram& d, ps_side side) { return {d.address[side].hi, d.address[side].lo}; }

Step plain_step(const ps_trace_event& event) {
  const char *stage = "unknown", *text = "event {0} {1} {2} of a kind that is not known";
  switch (event.kind) {
#define TRACE(number, symbol, of_stage, words) \
  case number: stage = of_stage, text = words; break;
#include "bpf/trace.def"
#undef TRACE
  }
  return {stage, fmt::format(fmt::runtime(text), event.value[0], event.value[1], event.value[2])};
}

std::string datagram_text(const ps_datagram& d) {
  std::string out = fmt::format("{} {} {} > {}", d.flags & PS_IPV6 ? "IPv6" : "IPv4", protocol_text(d.protocol), endpoint(d, PS_SOURCE), endpoint(d, PS_DESTINATION));
  if (d.flags & PS_PORTS && d.protocol == IPPROTO_TCP) out += ", flags" + tcp_flags_text(d.tcp_flags);
  if (d.flags & PS_ICMP) out += fmt::format(", type {} code {}", d.icmp_type, d.icmp_code);
  out += fmt::format(", {} {}", d.flags & PS_IPV6 ? "hop limit" : "ttl", d.hop_limit);
  if (d.flags & PS_FIRST_FRAGMENT) out += ", first fragment";
  if (d.flags & PS_LATER_FRAGMENT) out += ", later fragment";
  return out;
}

std::string packet_text(const ps_packet& p) {
  std::string out;
  for (unsigned i = 0; i < p.vlans && i < 2; ++i) out += fmt::format("VLAN {}, ", p.vlan[i] & 0xfff);
  return out + datagram_text(p.outer);
}

}  // namespace penstock
