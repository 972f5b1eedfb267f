#include "tests/model/answer.h"

#include <algorithm>

namespace penstock::model {
namespace {

using Octets = std::vector<uint8_t>;

void put(Octets& out, uint64_t value, int octets) {
  for (int i = octets - 1; i >= 0; --i) out.push_back(static_cast<uint8_t>(value >> 8 * i));
}
uint32_t get(std::span<const uint8_t> from, size_t at, int octets) {
  uint32_t value = 0;
  for (int i = 0; i < octets; ++i) value = value * 256 + from[at + static_cast<size_t>(i)];
  return value;
}
void append(Octets& out, std::span<const uint8_t> more) { out.insert(out.end(), more.begin(), more.end()); }

// RFC 1071, octet by octet.
uint16_t checksum(std::span<const uint8_t> octets) {
  uint64_t sum = 0;
  for (size_t i = 0; i < octets.size(); ++i) sum += i % 2 == 0 ? octets[i] * 256u : octets[i];
  while (sum > 0xffff) sum = sum % 65536 + sum / 65536;
  return static_cast<uint16_t>(0xffff - sum);
}

std::span<const uint8_t> bytes_of(const Host& host) { return {host.bytes.data(), host.v6 ? size_t{16} : size_t{4}}; }

bool one_host(const Host& host) {
  const auto octets = bytes_of(host);
  if (!host.v6) return octets[0] != 0 && octets[0] != 127 && octets[0] < 224;
  if (octets[0] == 255) return false;  // a group
  return !std::all_of(octets.begin(), octets.end() - 1, [](uint8_t o) { return o == 0; }) || octets[15] > 1;  // :: and ::1
}

Octets ip_header(const Packet& packet, const Host& from, unsigned protocol, size_t payload) {
  Octets out;
  if (from.v6) {
    put(out, 0x60000000, 4);
    put(out, payload, 2);
    put(out, protocol, 1);
    put(out, 64, 1);
  } else {
    put(out, 0x45, 1);
    put(out, protocol == 6 ? 0 : 0xc0, 1);  // RFC 1812 4.3.2.5: errors are network control
    put(out, 20 + payload, 2);
    put(out, 0x00004000, 4);                // DF
    put(out, 64, 1);
    put(out, protocol, 1);
    put(out, 0, 2);
  }
  append(out, bytes_of(from));
  append(out, bytes_of(packet.source));
  if (!from.v6) {
    const uint16_t sum = checksum(out);
    out[10] = static_cast<uint8_t>(sum >> 8);
    out[11] = static_cast<uint8_t>(sum);
  }
  return out;
}

// Fills in the checksum at `at`; `pseudo`: with the addresses, RFC 9293 3.1, RFC 8200 8.1.
void seal(Octets& transport, size_t at, bool pseudo, const Packet& packet, const Host& from, unsigned protocol) {
  Octets all;
  if (pseudo) {
    append(all, bytes_of(from));
    append(all, bytes_of(packet.source));
    put(all, transport.size(), 4);
    put(all, protocol, 4);
  }
  append(all, transport);
  const uint16_t sum = checksum(all);
  transport[at] = static_cast<uint8_t>(sum >> 8);
  transport[at + 1] = static_cast<uint8_t>(sum);
}

// RFC 9293 3.10.7.1
Octets reset(std::span<const uint8_t> datagram, const Packet& packet) {
  const auto tcp = datagram.subspan(packet.transport);
  const unsigned flags = *packet.tcp_flags;
  const bool syn = flags & 2, fin = flags & 1, ack = flags & 16;
  const auto length = static_cast<uint32_t>(tcp.size() - tcp[12] / 16 * 4u + syn + fin);
  Octets out;
  put(out, *packet.destination_port, 2);
  put(out, *packet.source_port, 2);
  put(out, ack ? get(tcp, 8, 4) : 0, 4);
  put(out, ack ? 0 : get(tcp, 4, 4) + length, 4);
  put(out, 0x50, 1);
  put(out, ack ? 4 : 4 + 16, 1);
  put(out, 0, 6);
  seal(out, 16, true, packet, packet.destination, 6);
  return out;
}

}  // namespace

bool answerable(std::span<const uint8_t> frame, const Packet& packet, bool ethernet) {
  if (packet.later_fragment) return false;
  if (packet.tcp_flags && *packet.tcp_flags / 4 % 2 == 1) return false;
  if (packet.icmp_type) {
    const unsigned type = *packet.icmp_type;
    if (packet.source.v6 ? (type > 0 && type < 128) || type == 137 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12) return false;
  }
  if (ethernet && frame[0] % 2 == 1) return false;  // to a group of stations
  return one_host(packet.source) && one_host(packet.destination);
}

std::vector<uint8_t> answer(std::span<const uint8_t> frame, const Packet& packet, const NodeAddresses& own) {
  const bool v6 = packet.source.v6;
  const auto datagram = frame.subspan(packet.network, packet.length);
  Host from = packet.destination;
  Octets ip, transport;
  if (packet.protocol == 6) {
    transport = reset(datagram, packet);
    ip = ip_header(packet, from, 6, transport.size());
  } else {
    if (!v6 && own.v4) {
      const auto wire = own.v4->wire();
      std::copy(wire.begin() + 12, wire.end(), from.bytes.begin());
    }
    if (v6 && own.v6) from.bytes = own.v6->wire();
    const unsigned protocol = v6 ? 58 : 1;
    const size_t room = v6 ? 1280 - 48 : 576 - 28;
    const bool udp = packet.protocol == 17;
    put(transport, v6 ? 1 : 3, 1);
    put(transport, v6 ? (udp ? 4 : 1) : (udp ? 3 : 13), 1);
    put(transport, 0, 6);
    append(transport, datagram.first(std::min(datagram.size(), room)));
    seal(transport, 2, v6, packet, from, protocol);
    ip = ip_header(packet, from, protocol, transport.size());
  }
  Octets out(frame.begin(), frame.begin() + packet.network);
  if (packet.network) std::swap_ranges(out.begin(), out.begin() + 6, out.begin() + 6);
  append(out, ip);
  append(out, transport);
  return out;
}

}  // namespace penstock::model
