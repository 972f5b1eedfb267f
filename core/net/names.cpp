#include "core/net/names.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr NamedNumber protocols[] = {{"tcp", 6},   {"udp", 17},  {"icmp", 1},  {"icmpv6", 58}, {"sctp", 132}, {"gre", 47},
                                     {"esp", 50},  {"ah", 51},   {"ipip", 4},  {"ipv6", 41},   {"igmp", 2},   {"ospf", 89},
                                     {"pim", 103}, {"vrrp", 112}, {"l2tp", 115}, {"dccp", 33},  {"udplite", 136}};

constexpr NamedNumber tcp_flags[] = {{"fin", 1}, {"syn", 2}, {"rst", 4}, {"psh", 8}, {"ack", 16}, {"urg", 32}, {"ece", 64}, {"cwr", 128}};

constexpr NamedNumber dscps[] = {{"cs0", 0},   {"cs1", 8},   {"cs2", 16},  {"cs3", 24},  {"cs4", 32},  {"cs5", 40},  {"cs6", 48},
                                 {"cs7", 56},  {"af11", 10}, {"af12", 12}, {"af13", 14}, {"af21", 18}, {"af22", 20}, {"af23", 22},
                                 {"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34}, {"af42", 36}, {"af43", 38}, {"ef", 46},
                                 {"le", 1},    {"va", 44}};

// RFC 792, 1191, 1256, 1812, 4443, 2710, 3810, 4861.
constexpr IcmpName icmp[] = {
    {"echo-request", false, 8},
    {"echo-request", true, 128},
    {"echo-reply", false, 0},
    {"echo-reply", true, 129},
    {"destination-unreachable", false, 3},
    {"destination-unreachable", true, 1},
    {"unreachable", false, 3},
    {"unreachable", true, 1},
    {"network-unreachable", false, 3, 0},
    {"no-route", true, 1, 0},
    {"host-unreachable", false, 3, 1},
    {"address-unreachable", true, 1, 3},
    {"protocol-unreachable", false, 3, 2},
    {"port-unreachable", false, 3, 3},
    {"port-unreachable", true, 1, 4},
    {"admin-prohibited", false, 3, 13},
    {"admin-prohibited", true, 1, 1},
    {"packet-too-big", false, 3, 4},
    {"packet-too-big", true, 2},
    {"fragmentation-needed", false, 3, 4},
    {"time-exceeded", false, 11},
    {"time-exceeded", true, 3},
    {"hop-limit-exceeded", false, 11, 0},
    {"hop-limit-exceeded", true, 3, 0},
    {"parameter-problem", false, 12},
    {"parameter-problem", true, 4},
    {"redirect", false, 5},
    {"redirect", true, 137},
    {"router-advertisement", false, 9},
    {"router-advertisement", true, 134},
    {"router-solicitation", false, 10},
    {"router-solicitation", true, 133},
    {"neighbor-solicitation", true, 135},
    {"neighbor-advertisement", true, 136},
    {"source-quench", false, 4},
    {"timestamp-request", false, 13},
    {"timestamp-reply", false, 14},
    {"mld-query", true, 130},
    {"mld-report", true, 131},
    {"mld-done", true, 132},
    {"mld2-report", true, 143},
};

}  // namespace

std::span<const NamedNumber> protocol_names() { return protocols; }
std::span<const NamedNumber> tcp_flag_names() { return tcp_flags; }
std::span<const NamedNumber> dscp_names() { return dscps; }
std::span<const IcmpName> icmp_names() { return icmp; }

std::optional<uint8_t> number_of(std::span<const NamedNumber> names, std::string_view name) {
  const auto found = std::ranges::find(names, name, &NamedNumber::name);
  return found == names.end() ? std::nullopt : std::optional(found->number);
}

std::vector<std::string> names_of(std::span<const NamedNumber> names) {
  std::vector<std::string> out;
  for (const NamedNumber& n : names) out.emplace_back(n.name);
  return out;
}

}  // namespace penstock
