#include "tests/model/receive.h"

#include <algorithm>

namespace penstock::model {
namespace {

using Octets = std::span<const uint8_t>;

unsigned u16(Octets o, size_t at) { return o[at] * 256u + o[at + 1]; }

// RFC 1071: of a header that holds its own checksum the sum is all ones.
bool sums_up(Octets header) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < header.size(); i += 2) sum += u16(header, i);
  while (sum > 0xffff) sum = sum % 65536 + sum / 65536;
  return sum == 0xffff;
}

// The names of RFC 3168, by their two bits.
enum Ecn { not_ect, ect1, ect0, ce };

// RFC 6040, figure 4, row by row: arriving inner header, then arriving outer header.  Nothing: drop.
std::optional<Ecn> figure4(Ecn inner, Ecn outer) {
  switch (inner) {
    case not_ect: return outer == ce ? std::nullopt : std::optional(not_ect);
    case ect0: return outer == not_ect || outer == ect0 ? ect0 : outer;
    case ect1: return outer == ce ? ce : ect1;
    case ce: return ce;
  }
  return {};
}

struct Inner {
  unsigned version = 0;
  Octets bytes;       // up to the end of what may belong to it
};

// draft-ietf-intarea-gue: `payload` is what UDP carries.  `reason`: why there is nothing.
std::optional<Inner> gue(Octets payload, std::string& reason) {
  if (payload.size() < 4) {
    reason = "decap-malformed";
    return {};
  }
  const unsigned variant = payload[0] / 64;
  if (variant == 1 && (payload[0] / 16 == 4 || payload[0] / 16 == 6)) return Inner{payload[0] / 16u, payload};
  const unsigned protocol = payload[1];
  if (payload[0] == 0 && u16(payload, 2) == 0 && (protocol == 4 || protocol == 41)) return Inner{protocol == 4 ? 4u : 6u, payload.subspan(4)};
  reason = "decap-unsupported";
  return {};
}

// RFC 791, RFC 8200: a header of this version whose datagram lies within.
bool sound(const Inner& inner) {
  const Octets o = inner.bytes;
  if (o.size() < (inner.version == 4 ? 20 : 40) || o[0] / 16 != inner.version) return false;
  if (inner.version == 6) return u16(o, 4) + 40u <= o.size();
  const unsigned header = o[0] % 16 * 4u, total = u16(o, 2);
  return header >= 20 && total >= header && total <= o.size();
}

}  // namespace

std::optional<Received> receive(const Receive& receive, Octets frame, const Packet& packet, bool from, bool ethernet, size_t linear) {
  const bool ipip = packet.protocol == 4 || packet.protocol == 41;
  const bool udp = packet.protocol == 17 && packet.destination_port == receive.gue_port;
  if (!(ipip && receive.strips(Decap::ipip)) && !(udp && receive.strips(Decap::gue))) return {};
  if (!from) return Received{"decap-foreign"};
  if (packet.first_fragment || packet.later_fragment) return Received{"decap-fragment"};

  const size_t network = ethernet ? packet.network : 0;
  const Octets outer = frame.subspan(network, packet.length), payload = outer.subspan(packet.transport);
  const bool v6 = packet.source.v6;
  Inner inner{packet.protocol == 4 ? 4u : 6u, payload};
  if (udp) {
    std::string reason;
    const auto found = gue(payload.subspan(8, packet.udp_length - 8), reason);
    if (!found) return Received{reason};
    inner = *found;
  }
  if (!sound(inner) || (!v6 && !sums_up(outer.first(outer[0] % 16 * 4u)))) return Received{"decap-malformed"};

  const unsigned class_octet = v6 ? outer[0] % 16 * 16u + outer[1] / 16 : outer[1];
  const Octets o = inner.bytes;
  const unsigned inner_class = inner.version == 6 ? o[0] % 16 * 16u + o[1] / 16 : o[1];
  const auto ecn = figure4(static_cast<Ecn>(inner_class % 4), static_cast<Ecn>(class_octet % 4));
  if (!ecn) return Received{"decap-ecn"};
  const size_t at = static_cast<size_t>(o.data() - frame.data());
  if (linear && linear < at + 20) return Received{"decap-unsupported"};

  const unsigned protocol = inner.version == 6 ? o[6] : o[9];
  Received out{protocol == 4 || protocol == 41 ? "decap-nested" : "decapsulated"};
  std::vector<uint8_t>& f = out.frame;
  f.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(network));
  if (ethernet) {
    f[network - 2] = inner.version == 4 ? 0x08 : 0x86;
    f[network - 1] = inner.version == 4 ? 0x00 : 0xdd;
  }
  f.insert(f.end(), o.data(), frame.data() + frame.size());
  if (*ecn == static_cast<Ecn>(inner_class % 4)) return out;
  uint8_t* ip = f.data() + network;
  if (inner.version == 6) {
    ip[1] = static_cast<uint8_t>(ip[1] % 16 + (inner_class / 4 * 4 + *ecn) % 16 * 16);
    return out;
  }
  // What was wrong with the checksum stays as wrong: the difference is carried over, in one's complement.
  const uint32_t before = u16({ip, 2}, 0), checksum = u16({ip + 10, 2}, 0);
  ip[1] = static_cast<uint8_t>(inner_class / 4 * 4 + *ecn);
  uint32_t sum = (checksum ^ 0xffff) + (before ^ 0xffff) + u16({ip, 2}, 0);
  while (sum > 0xffff) sum = sum % 65536 + sum / 65536;
  ip[10] = static_cast<uint8_t>((sum ^ 0xffff) / 256);
  ip[11] = static_cast<uint8_t>(sum ^ 0xffff);
  return out;
}

}  // namespace penstock::model
