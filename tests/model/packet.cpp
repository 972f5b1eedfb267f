#include "tests/model/packet.h"

#include <algorithm>
#include <utility>

namespace penstock::model {
namespace {

using Octets = std::span<const uint8_t>;
const Read malformed{Kind::malformed, {}, {}};
const Read not_ip{Kind::not_ip, {}, {}};

unsigned u16(Octets o, size_t at) { return o[at] * 256u + o[at + 1]; }

std::optional<Quoted> quoted(Octets o, bool v6);

// RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.  RFC 4443 2.1: the high bit clear;
// type 0 is none (it stands for nothing).
bool is_error(unsigned type, bool v6) {
  return v6 ? type > 0 && type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// RFC 9293 3.1, RFC 768, RFC 792, RFC 4443: `payload` is what IP carries, `whole` unless it is a first fragment.
Read transport(Packet packet, Octets payload, bool whole, bool v6) {
  switch (packet.protocol) {
    case 6: {
      if (payload.size() < 20) return malformed;
      const size_t header = (payload[12] / 16) * 4u;
      if (header < 20 || header > payload.size()) return malformed;
      packet.tcp_flags = payload[13];
      break;
    }
    case 17: {
      if (payload.size() < 8) return malformed;
      const unsigned length = u16(payload, 4);
      if (length < 8) return malformed;
      if (whole && length > payload.size()) return malformed;
      packet.udp_length = length;
      for (size_t i = 8; i < std::min<size_t>(12, payload.size()); ++i) packet.udp_head.push_back(payload[i]);
      break;
    }
    case 1:
    case 58:
      if ((packet.protocol == 58) != v6) return {Kind::ip, packet, {}};  // the other family's ICMP is an unknown protocol
      if (payload.size() < 8) return malformed;
      packet.icmp_type = payload[0];
      packet.icmp_code = payload[1];
      return {Kind::ip, packet, is_error(payload[0], v6) ? quoted(payload.subspan(8), v6) : std::nullopt};
    default:
      return {Kind::ip, packet, {}};
  }
  packet.source_port = u16(payload, 0);
  packet.destination_port = u16(payload, 2);
  return {Kind::ip, packet, {}};
}

// RFC 1858: a fragment at offset 8 would overwrite the flags of the TCP header that was judged; nobody has reason to send
// one of any protocol.
bool rewrites_header(unsigned offset) { return offset == 1; }

// RFC 791 3.1
Read ipv4(Octets o) {
  if (o.size() < 20) return malformed;
  if (o[0] / 16 != 4) return malformed;
  const size_t header = (o[0] % 16) * 4u;
  const size_t total = u16(o, 2);
  if (header < 20 || total < header || total > o.size()) return malformed;
  Packet packet;
  packet.hop_limit = o[8];
  packet.protocol = o[9];
  packet.dscp = o[1] / 4;
  packet.length = static_cast<unsigned>(total);
  packet.options = header > 20;
  std::copy_n(o.begin() + 12, 4, packet.source.bytes.begin());
  std::copy_n(o.begin() + 16, 4, packet.destination.bytes.begin());
  const unsigned offset = u16(o, 6) % 8192;
  const bool more = (u16(o, 6) / 8192) % 2 == 1;
  packet.fragment_id = u16(o, 4);
  packet.first_fragment = more && offset == 0;
  if (offset > 0) {
    if (rewrites_header(offset)) return malformed;
    packet.later_fragment = true;
    return {Kind::ip, packet, {}};
  }
  packet.transport = static_cast<unsigned>(header);
  return transport(packet, o.subspan(header, total - header), !more, false);
}

// RFC 4291 2.5.5.2: an IPv4-mapped address never stands on the wire.
bool mapped(const Host& host) {
  constexpr uint8_t head[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(head, head + 12, host.bytes.begin());
}

// RFC 8200
Read ipv6(Octets o) {
  if (o.size() < 40) return malformed;
  if (o[0] / 16 != 6) return malformed;
  const unsigned length = u16(o, 4);
  if (length > o.size() - 40) return malformed;
  Packet packet;
  packet.source.v6 = packet.destination.v6 = true;
  packet.hop_limit = o[7];
  packet.dscp = (o[0] % 16) * 4u + o[1] / 64;
  packet.length = 40 + length;
  std::copy_n(o.begin() + 8, 16, packet.source.bytes.begin());
  std::copy_n(o.begin() + 24, 16, packet.destination.bytes.begin());
  if (mapped(packet.source) || mapped(packet.destination)) return malformed;

  Octets rest = o.subspan(40, length);
  unsigned next = o[6];
  bool whole = true;
  for (int headers = 0;; ++headers) {
    const bool options = next == 0 || next == 60 || next == 43 || next == 135 || next == 139 || next == 140;
    if (!options && next != 44 && next != 51) break;
    if (headers == 8) return malformed;  // more than any sender has reason for
    if (rest.size() < 8) return malformed;
    const unsigned kind = next;
    next = rest[0];
    if (kind == 44) {
      const unsigned offset = u16(rest, 2) / 8;
      if (rewrites_header(offset)) return malformed;
      // RFC 6946: a header that says neither that there is more nor that there was something before cuts nothing.
      if (offset > 0 || rest[3] % 2 == 1) packet.fragment_id = u16(rest, 4) * 65536u + u16(rest, 6);
      if (offset > 0) {
        packet.first_fragment = false;
        packet.later_fragment = true;
        packet.protocol = next;
        return {Kind::ip, packet, {}};
      }
      if (rest[3] % 2 == 1) whole = false;
      if (rest[3] % 2 == 1) packet.first_fragment = true;
      rest = rest.subspan(8);
    } else {
      // RFC 4302: AH counts in units of four octets, minus two; the others in eight, not counting the first.
      const size_t size = kind == 51 ? (rest[1] + 2u) * 4 : (rest[1] + 1u) * 8;
      if (size > rest.size()) return malformed;
      packet.options = true;
      rest = rest.subspan(size);
    }
  }
  packet.protocol = next;
  packet.transport = packet.length - static_cast<unsigned>(rest.size());
  return transport(packet, rest, whole, true);
}

// RFC 792, RFC 4443 3: the header of the offending datagram and at least eight bytes behind it; the rest may be missing.
std::optional<Quoted> quoted_payload(Packet packet, Octets rest, bool v6) {
  const bool ports = packet.protocol == 6 || packet.protocol == 17;
  if (!ports && packet.protocol != (v6 ? 58u : 1u)) return packet;
  if (rest.size() < 8) return {};
  if (ports) {
    packet.source_port = u16(rest, 0);
    packet.destination_port = u16(rest, 2);
  } else {
    packet.icmp_type = rest[0];
  }
  return packet;
}

std::optional<Quoted> quoted(Octets o, bool v6) {
  if (o.size() < (v6 ? 40 : 20) || o[0] / 16 != (v6 ? 6 : 4)) return {};
  Packet packet;
  packet.source.v6 = packet.destination.v6 = v6;
  packet.hop_limit = o[v6 ? 7 : 8];
  const size_t from = v6 ? 8 : 12, size = v6 ? 16 : 4;
  std::copy_n(o.begin() + static_cast<std::ptrdiff_t>(from), size, packet.source.bytes.begin());
  std::copy_n(o.begin() + static_cast<std::ptrdiff_t>(from + size), size, packet.destination.bytes.begin());
  const size_t header = v6 ? 40 : (o[0] % 16) * 4u;
  const size_t claimed = v6 ? 40u + u16(o, 4) : u16(o, 2);
  if (header < 20 || claimed < header || header > o.size()) return {};
  Octets rest = o.subspan(header, std::min(claimed, o.size()) - header);
  packet.protocol = o[v6 ? 6 : 9];
  if (!v6) {
    const unsigned offset = u16(o, 6) % 8192;
    if (offset == 0) return quoted_payload(packet, rest, false);
    if (rewrites_header(offset)) return {};
    packet.later_fragment = true;
    return packet;
  }
  if (mapped(packet.source) || mapped(packet.destination)) return {};
  constexpr std::array<unsigned, 8> extensions = {0, 43, 44, 51, 60, 135, 139, 140};
  for (int left = 8; std::ranges::find(extensions, packet.protocol) != extensions.end(); --left) {
    if (left == 0 || rest.size() < 8) return {};
    const unsigned kind = std::exchange(packet.protocol, rest[0]);
    size_t length = 8 + rest[1] * 8u;
    if (kind == 51) length = 8 + rest[1] * 4u;
    if (kind == 44) {
      length = 8;
      if (const unsigned offset = u16(rest, 2) / 8; offset > 0) {
        if (rewrites_header(offset)) return {};
        packet.later_fragment = true;
        return packet;
      }
    }
    if (length > rest.size()) return {};
    rest = rest.subspan(length);
  }
  return quoted_payload(packet, rest, true);
}

}  // namespace

Read read_frame(Octets frame, bool ethernet) {
  if (!ethernet) {
    if (frame.empty()) return not_ip;
    return frame[0] / 16 == 4 ? ipv4(frame) : frame[0] / 16 == 6 ? ipv6(frame) : not_ip;
  }
  if (frame.size() < 14) return malformed;
  unsigned type = u16(frame, 12);
  Octets rest = frame.subspan(14);
  std::vector<unsigned> vlans;
  for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); ++tags) {  // IEEE 802.1Q, 802.1ad
    if (rest.size() < 4) return malformed;
    vlans.push_back(u16(rest, 0) % 4096);
    type = u16(rest, 2);
    rest = rest.subspan(4);
  }
  Read read = type == 0x0800 ? ipv4(rest) : type == 0x86dd ? ipv6(rest) : not_ip;
  read.packet.vlans = vlans;
  read.packet.network = static_cast<unsigned>(frame.size() - rest.size());
  read.packet.mac.emplace();
  std::copy_n(frame.begin() + 6, 6, read.packet.mac->begin());
  return read;
}

}  // namespace penstock::model
