#include "core/net/packet_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>

#include "core/base/diagnostic.h"
#include "core/net/address.h"
#include "core/net/mac.h"
#include "core/net/names.h"

namespace penstock {
namespace {

using Frame = std::vector<uint8_t>;

struct Word {
  std::string_view text;
  size_t column;  // from 1
};

constexpr uint8_t proto_icmp = 1, proto_ipip = 4, proto_tcp = 6, proto_udp = 17, proto_ipv6 = 41, proto_icmpv6 = 58;

void put16(Frame& out, uint32_t v) {
  out.push_back(static_cast<uint8_t>(v >> 8));
  out.push_back(static_cast<uint8_t>(v));
}
void put32(Frame& out, uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}
void set16(Frame& out, size_t at, uint32_t v) {
  out[at] = static_cast<uint8_t>(v >> 8);
  out[at + 1] = static_cast<uint8_t>(v);
}
void append(Frame& out, const Frame& more) { out.insert(out.end(), more.begin(), more.end()); }
void put_address(Frame& out, const Address& a) {
  const auto wire = a.wire();
  out.insert(out.end(), wire.begin() + (a.is_v4() ? 12 : 0), wire.end());
}

uint32_t add_words(const uint8_t* bytes, size_t size, uint32_t sum) {
  for (size_t i = 0; i + 1 < size; i += 2) sum += bytes[i] << 8 | bytes[i + 1];
  if (size % 2) sum += bytes[size - 1] << 8;
  return sum;
}

// What a text says about one IP packet.
struct Datagram {
  uint8_t protocol = 0;
  Address source, destination;
  uint16_t source_port = 0, destination_port = 0;
  uint8_t flags = 0;               // TCP
  uint8_t type = 0, code = 0;      // ICMP
  Frame payload;
  std::optional<uint8_t> ttl;
  uint8_t dscp = 0, ecn = 0;
  uint16_t id = 0;
  unsigned ip_options = 0, extensions = 0;
  bool fragment = false, more = false;
  uint16_t offset = 0;             // bytes

  bool v6() const { return !source.is_v4(); }
  bool discovery() const { return protocol == proto_icmpv6 && type >= 133 && type <= 137; }
};

Frame transport_bytes(const Datagram& d) {
  Frame out;
  if (d.fragment && d.offset > 0) return d.payload;  // a later fragment carries no header
  size_t checksum_at = 0;
  switch (d.protocol) {
    case proto_tcp:
      put16(out, d.source_port);
      put16(out, d.destination_port);
      put32(out, 0);               // sequence number
      put32(out, 0);               // acknowledgement number
      out.push_back(5 << 4);
      out.push_back(d.flags);
      put16(out, 8192);            // window
      put32(out, 0);               // checksum, urgent pointer
      checksum_at = 16;
      break;
    case proto_udp:
      put16(out, d.source_port);
      put16(out, d.destination_port);
      put16(out, static_cast<uint32_t>(8 + d.payload.size()));
      put16(out, 0);
      checksum_at = 6;
      break;
    case proto_icmp:
    case proto_icmpv6:
      out = {d.type, d.code};
      put16(out, 0);
      put32(out, 0);               // id and sequence number, or what the type has in their place
      if (d.protocol == proto_icmpv6 && (d.type == 135 || d.type == 136))
        put_address(out, d.type == 136 || d.destination.wire()[0] != 0xff ? (d.type == 136 ? d.source : d.destination) : [&] {
          // The address that is asked for belongs to the solicited-node group: its last three bytes are the group's.
          return Address{0xfe80000000000000ull, 0x000000ff'fe000000ull | (d.destination.lo & 0xffffff)};
        }());
      if (d.protocol == proto_icmpv6 && d.type == 134) out.resize(16);
      checksum_at = 2;
      break;
    default:
      return d.payload;
  }
  append(out, d.payload);
  uint32_t sum = 0;
  if (d.protocol != proto_icmp) {  // the pseudo header
    Frame pseudo;
    put_address(pseudo, d.source);
    put_address(pseudo, d.destination);
    put32(pseudo, static_cast<uint32_t>(out.size()));
    put32(pseudo, d.protocol);
    sum = add_words(pseudo.data(), pseudo.size(), 0);
  }
  uint16_t checksum = internet_checksum(out.data(), out.size(), sum);
  if (d.protocol == proto_udp && checksum == 0) checksum = 0xffff;  // 0 would mean "none"
  set16(out, checksum_at, checksum);
  return out;
}

Frame ip_bytes(const Datagram& d) {
  const Frame transport = transport_bytes(d);
  const uint8_t traffic_class = static_cast<uint8_t>(d.dscp << 2 | d.ecn);
  const uint8_t ttl = d.ttl.value_or(d.discovery() ? 255 : 64);
  Frame out;
  if (!d.v6()) {
    const size_t header = 20 + d.ip_options;
    out = {static_cast<uint8_t>(4 << 4 | header / 4), traffic_class};
    put16(out, static_cast<uint32_t>(header + transport.size()));
    put16(out, d.id);
    put16(out, (d.more ? 0x2000u : 0u) | d.offset / 8u);
    out.push_back(ttl);
    out.push_back(d.protocol);
    put16(out, 0);
    put_address(out, d.source);
    put_address(out, d.destination);
    out.resize(header, 1);  // NOP
    set16(out, 10, internet_checksum(out.data(), header));
  } else {
    constexpr uint8_t destination_options = 60, fragment_header = 44;
    Frame extensions;
    for (unsigned i = 0; i < d.extensions; ++i) {
      const uint8_t next = i + 1 < d.extensions ? destination_options : d.fragment ? fragment_header : d.protocol;
      const uint8_t header[] = {next, 0, 1, 4, 0, 0, 0, 0};  // PadN of 6 bytes
      extensions.insert(extensions.end(), std::begin(header), std::end(header));
    }
    if (d.fragment) {
      extensions.push_back(d.protocol);
      extensions.push_back(0);
      put16(extensions, d.offset | (d.more ? 1u : 0u));
      put32(extensions, d.id);
    }
    put32(out, 6u << 28 | static_cast<uint32_t>(traffic_class) << 20);
    put16(out, static_cast<uint32_t>(extensions.size() + transport.size()));
    out.push_back(d.extensions ? destination_options : d.fragment ? fragment_header : d.protocol);
    out.push_back(ttl);
    put_address(out, d.source);
    put_address(out, d.destination);
    append(out, extensions);
  }
  append(out, transport);
  return out;
}

constexpr uint16_t later_offset = 1480;  // of a fragment that is only said to be a later one

constexpr uint8_t own_mac[] = {2, 0, 0, 0, 0, 1};
constexpr uint8_t node_mac[] = {2, 0, 0, 0, 0, 2};

// The MAC address that frames to `a` carry: the group's (RFC 1112, RFC 2464), broadcast, or the node's.
std::array<uint8_t, 6> mac_of(const Address& a) {
  const auto w = a.wire();
  if (a.is_v4() && w[12] >= 224 && w[12] < 240) return {1, 0, 0x5e, static_cast<uint8_t>(w[13] & 0x7f), w[14], w[15]};
  if (a.is_v4() && a.v4() == 0xffffffff) return {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (!a.is_v4() && w[0] == 0xff) return {0x33, 0x33, w[12], w[13], w[14], w[15]};
  return std::to_array(node_mac);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    for (size_t at = 0; at < text.size();) {
      if (text[at] == ' ' || text[at] == '\t') {
        ++at;
        continue;
      }
      const size_t end = std::min(text.find_first_of(" \t", at), text.size());
      words_.push_back({text.substr(at, end - at), at + 1});
      at = end;
    }
  }

  Result<Frame> frame() {
    while (is("vlan")) {
      ++next_;
      TRY(vlan());
    }
    Frame body;
    uint16_t type = 0;
    std::array<uint8_t, 6> to{};
    if (is("arp")) {
      TRY_ASSIGN(body, arp(to));
      type = 0x0806;
    } else {
      TRY_ASSIGN(const Datagram d, datagram());
      body = ip_bytes(d);
      if (body.size() > 65535) return bad("the packet is longer than 65535 bytes");
      type = d.v6() ? 0x86dd : 0x0800;
      to = mac_of(d.destination);
    }
    Frame out(to.begin(), to.end());
    out.insert(out.end(), mac_.begin(), mac_.end());
    for (size_t i = 0; i < tags_.size(); ++i) {
      put16(out, i + 1 < tags_.size() ? 0x88a8 : 0x8100);
      put16(out, tags_[i]);
    }
    put16(out, type);
    append(out, body);
    return out;
  }

 private:
  bool is(std::string_view word) const { return next_ < words_.size() && words_[next_].text == word; }

  // An error at the next word, or behind the last.
  Failure bad(std::string message, std::string hint = {}) const {
    const bool here = next_ < words_.size();
    Diagnostic d{std::move(message)};
    d.at = {"packet", 1, static_cast<uint32_t>(here ? words_[next_].column : text_.size() + 1),
            static_cast<uint32_t>(here ? words_[next_].text.size() : 1)};
    d.source_line = std::string(text_);
    d.hint = std::move(hint);
    return fail(std::move(d));
  }

  Result<std::string_view> word(std::string_view what) {
    if (next_ == words_.size()) return bad(fmt::format("{} is missing", what));
    return words_[next_++].text;
  }

  Result<uint32_t> number(std::string_view what, uint32_t most) {
    TRY_ASSIGN(const std::string_view text, word(what));
    const bool hex = text.starts_with("0x");
    const char* const begin = text.data() + (hex ? 2 : 0);
    const char* const end = text.data() + text.size();
    uint32_t value = 0;
    const auto [stop, code] = std::from_chars(begin, end, value, hex ? 16 : 10);
    if (code != std::errc() || stop != end || value > most) {
      --next_;
      return bad(fmt::format("{} is a number from 0 to {}", what, most));
    }
    return value;
  }

  Result<Address> address(std::string_view text) {
    const auto a = Address::parse(text);
    if (!a) {
      --next_;
      return bad(fmt::format("`{}` is no address", text));
    }
    return *a;
  }

  Result<> endpoint(bool port, Address& address_out, uint16_t& port_out) {
    TRY_ASSIGN(const std::string_view text, word("an address"));
    std::string_view host = text;
    if (port) {
      const size_t colon = text.rfind(':');
      const bool bracketed = text.starts_with("[");
      if (colon == std::string_view::npos || (bracketed && (colon == 0 || text[colon - 1] != ']')) ||
          (!bracketed && text.find(':') != colon)) {
        --next_;
        return bad("an address with a port is due", "192.0.2.1:80 or [2001:db8::1]:80");
      }
      host = text.substr(bracketed ? 1 : 0, colon - (bracketed ? 2 : 0));
      const char* const end = text.data() + text.size();
      const auto [stop, code] = std::from_chars(text.data() + colon + 1, end, port_out);
      if (code != std::errc() || stop != end) {
        --next_;
        return bad(fmt::format("`{}` is no port", text.substr(colon + 1)));
      }
    } else if (text.starts_with("[") && text.ends_with("]")) {
      host = text.substr(1, text.size() - 2);
    }
    TRY_ASSIGN(address_out, address(host));
    return {};
  }

  Result<> endpoints(bool ports, Datagram& d) {
    TRY(endpoint(ports, d.source, d.source_port));
    if (!is(">")) return bad("`>` and the destination are due");
    ++next_;
    TRY(endpoint(ports, d.destination, d.destination_port));
    if (d.source.is_v4() != d.destination.is_v4()) {
      --next_;
      return bad("source and destination are of different families");
    }
    return {};
  }

  Result<Frame> arp(std::array<uint8_t, 6>& to) {
    ++next_;
    const bool reply = is("reply");
    if (reply || is("request")) ++next_;
    Datagram d;
    TRY(endpoints(false, d));
    if (d.v6()) {
      --next_;
      return bad("ARP is about IPv4 addresses");
    }
    if (next_ < words_.size()) return bad("nothing is due behind the addresses");
    to = reply ? std::to_array(node_mac) : std::array<uint8_t, 6>{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    Frame out = {0, 1, 8, 0, 6, 4, 0, static_cast<uint8_t>(reply ? 2 : 1)};
    out.insert(out.end(), std::begin(own_mac), std::end(own_mac));
    put_address(out, d.source);
    if (reply)
      out.insert(out.end(), std::begin(node_mac), std::end(node_mac));
    else
      out.resize(out.size() + 6);
    put_address(out, d.destination);
    return out;
  }

  // TYPE or TYPE/CODE, the word before the next one.
  Result<> icmp_numbers(std::string_view text, Datagram& d) {
    const size_t slash = text.find('/');
    bool good = true;
    const auto read = [&](std::string_view part, uint8_t& out) {
      const char* const end = part.data() + part.size();
      const auto [stop, code] = std::from_chars(part.data(), end, out);
      good = good && code == std::errc() && stop == end;
    };
    read(text.substr(0, slash), d.type);
    if (slash != std::string_view::npos) read(text.substr(slash + 1), d.code);
    if (good) return {};
    --next_;
    return bad("an ICMP type and code are numbers from 0 to 255", "3/4");
  }

  Result<> icmp_type(Datagram& d) {
    if (is("type")) {
      ++next_;
      TRY_ASSIGN(const uint32_t type, number("the type", 255));
      d.type = static_cast<uint8_t>(type);
      if (!is("code")) return {};
      ++next_;
      TRY_ASSIGN(const uint32_t code, number("the code", 255));
      d.code = static_cast<uint8_t>(code);
      return {};
    }
    TRY_ASSIGN(const std::string_view name, word("the ICMP type"));
    if (name.find_first_not_of("0123456789/") == std::string_view::npos) return icmp_numbers(name, d);
    std::vector<std::string> known;
    for (const IcmpName& n : icmp_names()) {
      if (n.v6 != d.v6()) continue;
      known.emplace_back(n.name);
      if (n.name != name) continue;
      d.type = n.type;
      d.code = n.code.value_or(0);
      return {};
    }
    --next_;
    return bad(fmt::format("unknown ICMP type `{}`", name), suggest(name, known));
  }

  Result<Datagram> datagram() {
    static const std::vector<std::string> kinds = {"tcp", "udp", "icmp", "icmpv6", "ip", "arp", "vlan"};
    TRY_ASSIGN(const std::string_view kind, word("the kind of packet"));
    Datagram d;
    if (kind == "tcp" || kind == "udp") {
      d.protocol = kind == "tcp" ? proto_tcp : proto_udp;
      TRY(endpoints(true, d));
    } else if (kind == "icmp" || kind == "icmpv6") {
      d.protocol = kind == "icmp" ? proto_icmp : proto_icmpv6;
      TRY(endpoints(false, d));
      if (d.v6() != (d.protocol == proto_icmpv6)) {
        --next_;
        return bad(fmt::format("{} needs addresses of IPv{}", kind, d.protocol == proto_icmpv6 ? 6 : 4));
      }
      TRY(icmp_type(d));
    } else if (kind == "ip") {
      if (const auto known = next_ < words_.size() ? number_of(protocol_names(), words_[next_].text) : std::nullopt) {
        d.protocol = *known;
        ++next_;
      } else {
        TRY_ASSIGN(const uint32_t protocol, number("the protocol", 255));
        d.protocol = static_cast<uint8_t>(protocol);
      }
      TRY(endpoints(false, d));
    } else {
      --next_;
      return bad(fmt::format("unknown kind of packet `{}`", kind), suggest(kind, kinds));
    }
    while (next_ < words_.size()) TRY(option(d));
    return d;
  }

  Result<> option(Datagram& d) {
    static const std::vector<std::string> names = {"length", "payload", "quoting", "carrying", "ttl", "dscp", "ecn", "id", "options",
                                                   "ip-options", "extensions", "fragment", "vlan", "mac"};
    TRY_ASSIGN(const std::string_view name, word("an option"));
    if (const auto flag = d.protocol == proto_tcp ? number_of(tcp_flag_names(), name) : std::nullopt) {
      d.flags |= *flag;
    } else if (name == "length") {
      TRY_ASSIGN(const uint32_t length, number("the length", 65000));
      d.payload.resize(length);  // behind "payload": zeros are added
    } else if (name == "payload") {
      TRY(payload(d));
    } else if (name == "quoting") {
      if (d.protocol != proto_icmp && d.protocol != proto_icmpv6) {
        --next_;
        return bad("only an ICMP packet quotes another");
      }
      TRY_ASSIGN(const Datagram quoted, datagram());
      d.payload = ip_bytes(quoted);
    } else if (name == "carrying") {
      if (d.protocol != proto_ipip && d.protocol != proto_ipv6 && d.protocol != proto_udp) {
        --next_;
        return bad("only ipip, ipv6 and udp carry another packet");
      }
      TRY_ASSIGN(const Datagram carried, datagram());
      d.payload = ip_bytes(carried);
    } else if (name == "ttl") {
      TRY_ASSIGN(const uint32_t ttl, number("the ttl", 255));
      d.ttl = static_cast<uint8_t>(ttl);
    } else if (name == "dscp") {
      if (const auto named = next_ < words_.size() ? number_of(dscp_names(), words_[next_].text) : std::nullopt) {
        d.dscp = *named;
        ++next_;
        return {};
      }
      TRY_ASSIGN(const uint32_t dscp, number("the dscp", 63));
      d.dscp = static_cast<uint8_t>(dscp);
    } else if (name == "ecn") {
      TRY_ASSIGN(const uint32_t ecn, number("the ecn", 3));
      d.ecn = static_cast<uint8_t>(ecn);
    } else if (name == "id") {
      TRY_ASSIGN(const uint32_t id, number("the id", 65535));
      d.id = static_cast<uint16_t>(id);
    } else if (name == "ip-options") {
      TRY_ASSIGN(d.ip_options, number("the length of the options", 40));
      if (d.v6() || d.ip_options % 4) {
        --next_;
        return bad(d.v6() ? "only IPv4 has options" : "the length of the options is a multiple of 4");
      }
    } else if (name == "extensions") {
      TRY_ASSIGN(d.extensions, number("the number of extension headers", 16));
      if (!d.v6()) {
        --next_;
        return bad("only IPv6 has extension headers");
      }
    } else if (name == "options") {
      (d.v6() ? d.extensions : d.ip_options) = d.v6() ? 1 : 4;
    } else if (name == "vlan") {
      TRY(vlan());
    } else if (name == "mac") {
      TRY_ASSIGN(const std::string_view text, word("the source's MAC address"));
      const auto parsed = Mac::parse(text);
      if (!parsed) {
        --next_;
        return bad(fmt::format("`{}` is no MAC address", text), "02:00:5e:10:00:01");
      }
      mac_ = parsed->bytes;
    } else if (name == "fragment") {
      d.fragment = true;
      if (is("first")) {
        ++next_;
        d.more = true;
        return {};
      }
      if (is("later")) {
        ++next_;
        d.offset = later_offset;
        return {};
      }
      TRY_ASSIGN(const uint32_t offset, number("the offset", 65528));
      if (offset % 8) {
        --next_;
        return bad("the offset of a fragment is a multiple of 8");
      }
      d.offset = static_cast<uint16_t>(offset);
      if (is("more")) {
        ++next_;
        d.more = true;
      }
    } else {
      --next_;
      std::vector<std::string> known = names;
      if (d.protocol == proto_tcp) std::ranges::move(names_of(tcp_flag_names()), std::back_inserter(known));
      return bad(fmt::format("unknown option `{}`", name), did_you_mean(name, known));
    }
    return {};
  }

  // The number of a tag, behind the word `vlan`.
  Result<> vlan() {
    if (tags_.size() == 2) {
      --next_;
      return bad("a packet has at most two tags");
    }
    TRY_ASSIGN(const uint32_t tag, number("the number of the VLAN", 4095));
    tags_.push_back(static_cast<uint16_t>(tag));
    return {};
  }

  Result<> payload(Datagram& d) {
    TRY_ASSIGN(const std::string_view hex, word("the payload"));
    d.payload.clear();
    bool good = hex.size() % 2 == 0;
    for (size_t i = 0; good && i < hex.size(); i += 2) {
      uint8_t byte = 0;
      const auto [stop, code] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
      good = code == std::errc() && stop == hex.data() + i + 2;
      d.payload.push_back(byte);
    }
    if (good) return {};
    --next_;
    return bad("the payload is written in pairs of hexadecimal digits");
  }

  std::string_view text_;
  std::vector<Word> words_;
  size_t next_ = 0;
  std::vector<uint16_t> tags_;                              // outer first
  std::array<uint8_t, 6> mac_ = std::to_array(own_mac);
};

}  // namespace

uint16_t internet_checksum(const uint8_t* bytes, size_t size, uint32_t sum) {
  sum = add_words(bytes, size, sum);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Result<std::vector<uint8_t>> packet_from_text(std::string_view text) { return Parser(text).frame(); }

}  // namespace penstock
