#include "app/import/words.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

namespace penstock::foreign {
namespace {

using Named = std::pair<std::string_view, unsigned>;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

template <size_t N>
std::optional<unsigned> look_up(const Named (&names)[N], std::string_view text) {
  const std::string word = lower(text);
  const auto at = std::ranges::find(names, word, &Named::first);
  return at == std::end(names) ? std::nullopt : std::optional(at->second);
}

// What the tools accept; iptables-save and nft print some of them (netfilter's and nft's symbol tables).
constexpr Named protocols[] = {{"all", 0}, {"icmp", 1}, {"igmp", 2}, {"ipip", 4}, {"ipencap", 4}, {"tcp", 6}, {"udp", 17}, {"dccp", 33}, {"ipv6", 41}, {"gre", 47}, {"esp", 50},
                               {"ah", 51}, {"ipv6-icmp", 58}, {"icmpv6", 58}, {"icmp6", 58}, {"ospf", 89}, {"pim", 103}, {"comp", 108}, {"ipcomp", 108}, {"vrrp", 112}, {"l2tp", 115}, {"sctp", 132}, {"mh", 135},
                               {"mobility-header", 135}, {"udplite", 136}};

// type * 256 + code; those below `any_code` hold for one code only.
constexpr unsigned any_code = 1u << 16;
constexpr unsigned type(unsigned number) { return any_code | number << 8; }
constexpr Named icmp_v4[] = {{"echo-reply", type(0)}, {"pong", type(0)}, {"destination-unreachable", type(3)}, {"network-unreachable", 0x300}, {"host-unreachable", 0x301},
                             {"protocol-unreachable", 0x302}, {"port-unreachable", 0x303}, {"fragmentation-needed", 0x304}, {"communication-prohibited", 0x30d}, {"source-quench", type(4)},
                             {"redirect", type(5)}, {"echo-request", type(8)}, {"ping", type(8)}, {"router-advertisement", type(9)}, {"router-solicitation", type(10)},
                             {"time-exceeded", type(11)}, {"ttl-exceeded", type(11)}, {"ttl-zero-during-transit", 0xb00}, {"parameter-problem", type(12)},
                             {"timestamp-request", type(13)}, {"timestamp-reply", type(14)}, {"info-request", type(15)}, {"info-reply", type(16)},
                             {"address-mask-request", type(17)}, {"address-mask-reply", type(18)}};
constexpr Named icmp_v6[] = {{"destination-unreachable", type(1)}, {"no-route", 0x100}, {"communication-prohibited", 0x101}, {"address-unreachable", 0x103}, {"port-unreachable", 0x104},
                             {"packet-too-big", type(2)}, {"time-exceeded", type(3)}, {"ttl-exceeded", type(3)}, {"parameter-problem", type(4)}, {"bad-header", 0x400},
                             {"unknown-header-type", 0x401}, {"unknown-option", 0x402}, {"echo-request", type(128)}, {"ping", type(128)}, {"echo-reply", type(129)}, {"pong", type(129)},
                             {"mld-listener-query", type(130)}, {"mld-listener-report", type(131)}, {"mld-listener-done", type(132)}, {"mld-listener-reduction", type(132)},
                             {"router-solicitation", type(133)}, {"nd-router-solicit", type(133)}, {"router-advertisement", type(134)}, {"nd-router-advert", type(134)},
                             {"neighbour-solicitation", type(135)}, {"neighbor-solicitation", type(135)}, {"nd-neighbor-solicit", type(135)}, {"neighbour-advertisement", type(136)},
                             {"neighbor-advertisement", type(136)}, {"nd-neighbor-advert", type(136)}, {"redirect", type(137)}, {"nd-redirect", type(137)}, {"router-renumbering", type(138)},
                             {"ind-neighbor-solicit", type(141)}, {"ind-neighbor-advert", type(142)}, {"mld2-listener-report", type(143)}};

constexpr Named flags[] = {{"fin", 1}, {"syn", 2}, {"rst", 4}, {"psh", 8}, {"ack", 16}, {"urg", 32}, {"ecn", 64}, {"ece", 64}, {"cwr", 128}, {"all", 63}, {"none", 0}};
constexpr Named classes[] = {{"cs0", 0}, {"be", 0}, {"df", 0}, {"cs1", 8}, {"cs2", 16}, {"cs3", 24}, {"cs4", 32}, {"cs5", 40}, {"cs6", 48}, {"cs7", 56}, {"af11", 10}, {"af12", 12},
                             {"af13", 14}, {"af21", 18}, {"af22", 20}, {"af23", 22}, {"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34}, {"af42", 36}, {"af43", 38}, {"ef", 46},
                             {"lephb", 1}, {"le", 1}, {"va", 44}};
constexpr Named states[] = {{"invalid", invalid_state}, {"established", established_state}, {"related", related_state}, {"new", new_state}, {"untracked", untracked_state}};

}  // namespace

std::optional<uint64_t> number(std::string_view text, uint64_t most) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size() || out > most) return std::nullopt;
  return out;
}

std::optional<Ranges> number_range(std::string_view text, char between, uint64_t most) {
  const size_t at = text.find(between);
  if (at == text.npos) {
    const auto one = number(text, most);
    return one ? std::optional(just(*one)) : std::nullopt;
  }
  const auto first = at == 0 ? 0 : number(text.substr(0, at), most);
  const auto last = at + 1 == text.size() ? most : number(text.substr(at + 1), most);
  if (!first || !last || *first > *last) return std::nullopt;
  return Ranges(*first, *last);
}

std::optional<unsigned> protocol(std::string_view name) {
  if (const auto n = number(name, 255)) return static_cast<unsigned>(*n);
  return look_up(protocols, name);
}

std::optional<Ranges> addresses(std::string_view text) {
  if (const size_t dash = text.find('-'); dash != text.npos) {
    const auto first = Address::parse(text.substr(0, dash)), last = Address::parse(text.substr(dash + 1));
    if (!first || !last || first->is_v4() != last->is_v4() || *last < *first) return std::nullopt;
    return Ranges(value_of(*first), value_of(*last));
  }
  const size_t slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == text.npos) return just(value_of(*address));
  const std::string_view rest = text.substr(slash + 1);
  const unsigned bits = address->is_v4() ? 32 : 128;
  auto length = number(rest, bits);
  if (!length) {
    const auto mask = Address::parse(rest);
    if (!mask || mask->is_v4() != address->is_v4()) return std::nullopt;
    const Value ones = address->is_v4() ? Value{mask->v4()} << 96 : value_of(*mask);
    unsigned set = 0;
    while (set < bits && ones >> (127 - set) & 1) ++set;
    if (ones << set && set < bits) return std::nullopt;  // a mask with holes is no prefix
    length = set;
  }
  const Value host = bits == *length ? 0 : bits - *length == 128 ? most_address : (Value{1} << (bits - *length)) - 1;
  const Value first = value_of(*address) & ~host;
  const Ranges all(first, first | host);
  return address->is_v4() ? all : all & all_v6();  // a wide IPv6 prefix covers where IPv4 lies in the 128 bits
}

std::optional<Value> mac(std::string_view text) {
  Value out = 0;
  const auto bytes = split(text, ':');
  if (bytes.size() != 6) return std::nullopt;
  for (const std::string_view byte : bytes) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(byte.data(), byte.data() + byte.size(), value, 16);
    if (error != std::errc() || end != byte.data() + byte.size() || value > 255) return std::nullopt;
    out = out << 8 | value;
  }
  return out;
}

std::optional<Ranges> icmp_kind(std::string_view text, bool v6) {
  if (text == "any" || text == "255/255") return Ranges(0, most_of(Field::icmp));
  if (const auto named = v6 ? look_up(icmp_v6, text) : look_up(icmp_v4, text)) {
    if (*named & any_code) return Ranges(*named & 0xff00, (*named & 0xff00) | 255);
    return just(*named);
  }
  const size_t slash = text.find('/');
  const auto kind = number(text.substr(0, slash), 255);
  if (!kind) return std::nullopt;
  if (slash == text.npos) return Ranges(*kind * 256, *kind * 256 + 255);
  const auto code = number(text.substr(slash + 1), 255);
  return code ? std::optional(just(*kind * 256 + *code)) : std::nullopt;
}

std::optional<unsigned> tcp_flags(std::string_view text) {
  unsigned out = 0;
  for (const std::string_view word : split(text, ',')) {
    auto bits = look_up(flags, word);
    if (const auto n = number(word, 255); n && !bits) bits = static_cast<unsigned>(*n);
    if (!bits) return std::nullopt;
    out |= *bits;
  }
  return out;
}

std::optional<unsigned> dscp_class(std::string_view text) { return look_up(classes, text); }
std::optional<unsigned> state(std::string_view text) { return look_up(states, text); }

Ranges masked_bytes(unsigned mask, unsigned value) {
  std::vector<Range> out;
  for (unsigned byte = 0; byte < 256; ++byte)
    if ((byte & mask) == value) out.push_back({byte, byte});
  return Ranges(std::move(out));
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t end = text.find(at);
    out.push_back(text.substr(0, end));
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

}  // namespace penstock::foreign
