// The model's own reading of a frame.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace penstock::model {

// The sixteen bytes of an IPv6 address; of IPv4 the four bytes are used.
struct Host {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};
  bool operator==(const Host&) const = default;
};

struct Packet {
  Host source, destination;
  unsigned protocol = 0;
  unsigned hop_limit = 0;
  unsigned dscp = 0;
  unsigned length = 0;                                    // of the IP datagram, or fragment: bytes
  bool options = false;                                   // IPv4 options; extension headers but the fragment header
  bool first_fragment = false, later_fragment = false;
  unsigned fragment_id = 0;                               // of a fragment
  std::optional<unsigned> source_port, destination_port;  // TCP and UDP, unless a later fragment
  std::optional<unsigned> tcp_flags;                      // TCP, unless a later fragment
  std::optional<unsigned> icmp_type, icmp_code;           // ICMP in IPv4, ICMPv6 in IPv6
  unsigned udp_length = 0;                                // of UDP: of its header and what it carries, as the header says
  std::vector<uint8_t> udp_head;                          // the first bytes, at most four, that UDP carries
  unsigned transport = 0;                                 // bytes of headers in front of TCP, UDP or ICMP, from IP's on
  // Of the frame.
  unsigned network = 0;                                   // bytes in front of the IP header
  std::optional<std::array<uint8_t, 6>> mac;              // the source's
  std::vector<unsigned> vlans;                            // numbers, outer first
};

// What an ICMP or ICMPv6 error quotes: enough to know the flow.  ICMP has no ports but a type.
using Quoted = Packet;

enum class Kind { ip, not_ip, malformed };
struct Read {
  Kind kind = Kind::malformed;
  Packet packet{};
  std::optional<Quoted> quoted{};  // of an ICMP error, where the quote makes sense
};

Read read_frame(std::span<const uint8_t> frame, bool ethernet);

}  // namespace penstock::model
