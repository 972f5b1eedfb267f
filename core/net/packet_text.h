// Packets in a short text form, for tests and tools:
//
//   tcp 192.0.2.7:4000 > 198.51.100.10:443 syn
//   udp [2001:db8::1]:53 > [2001:db8::2]:4000 length 200 ttl 3
//   icmp 1.2.3.4 > 5.6.7.8 echo-request
//   icmpv6 fe80::1 > ff02::1:ff00:1 neighbor-solicitation
//   arp request 192.0.2.1 > 192.0.2.2
//   ip gre 192.0.2.1 > 192.0.2.2                  any other protocol, by name or number
//   vlan 10 vlan 20 udp 192.0.2.1:1 > 192.0.2.2:2  tags, the outer one first (of two, the outer is 802.1ad)
//   icmp 1.2.3.4 > 5.6.7.8 unreachable quoting udp 5.6.7.8:1 > 1.2.3.4:2
//   ip ipip 10.0.0.5 > 10.0.1.11 carrying tcp 192.0.2.7:4000 > 198.51.100.10:443 syn
//
// Grammar (words are separated by blanks; N is decimal or 0x...):
//
//   packet  = { "vlan" N } body
//   body    = "tcp" ADDRESS:PORT ">" ADDRESS:PORT { tcp-flag | option }
//           | "udp" ADDRESS:PORT ">" ADDRESS:PORT { option }
//           | ("icmp" | "icmpv6") ADDRESS ">" ADDRESS ( TYPE | N [ "/" N ] | "type" N [ "code" N ] ) { option }
//           | "ip" PROTOCOL ADDRESS ">" ADDRESS { option }
//           | "arp" [ "request" | "reply" ] ADDRESS ">" ADDRESS
//   tcp-flag = fin | syn | rst | psh | ack | urg | ece | cwr
//   TYPE    = echo-request | echo-reply | destination-unreachable | port-unreachable | packet-too-big | time-exceeded |
//             ... (icmp_names() in core/net/names.h)
//   option  = "length" N            bytes of payload behind the transport header, all zero
//           | "payload" HEX [ "length" N ]   the payload itself, with zeros up to that length
//           | "quoting" body        the payload is this packet, from its IP header on
//           | "carrying" body       likewise, encapsulated: behind `ip ipip`, `ip ipv6` or udp (GUE, variant 1)
//           | "ttl" N | "dscp" ( N | CLASS ) | "ecn" N | "id" N
//           | "vlan" N            as in front
//           | "mac" MAC           the source's
//           | "options"           "ip-options 4", or "extensions 1" in IPv6
//           | "ip-options" N        N bytes of NOP in an IPv4 header (a multiple of 4, at most 40)
//           | "extensions" N        N destination-option headers of 8 bytes in front of an IPv6 payload
//           | "fragment" N [ "more" ]   at byte N (a multiple of 8); with N > 0 there is no transport header
//           | "fragment" "first"        "fragment 0 more"
//           | "fragment" "later"        "fragment 1480"
//
// IPv6 addresses stand in brackets where a port follows.  Checksums and lengths are right; ttl is 64, or 255 where
// neighbour discovery demands it.  MAC addresses are 02:00:00:00:00:01 > 02:00:00:00:00:02, or the group's address.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace penstock {

// The Ethernet frame, without padding or frame check sequence.  An error points into the text: its Location has the file
// "packet", line 1 and the column, and its source_line is the text.
Result<std::vector<uint8_t>> packet_from_text(std::string_view text);

// The internet checksum (RFC 1071) of `bytes`, continuing from `sum`; as a number whose big-endian form is stored.
uint16_t internet_checksum(const uint8_t* bytes, size_t size, uint32_t sum = 0);

}  // namespace penstock
