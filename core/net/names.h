// Names of the numbers in headers, the same wherever people write them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

struct NamedNumber {
  std::string_view name;
  uint8_t number;
};
std::span<const NamedNumber> protocol_names();  // above IP
std::span<const NamedNumber> tcp_flag_names();  // the bits of the flags' byte, "fin" 1 to "cwr" 128
std::span<const NamedNumber> dscp_names();      // RFC 2474, 2597, 3246, 5865, 8622

std::optional<uint8_t> number_of(std::span<const NamedNumber> names, std::string_view name);
std::vector<std::string> names_of(std::span<const NamedNumber> names);

// A name may exist in both families, and may stand for any code of its type.
struct IcmpName {
  std::string_view name;
  bool v6;
  uint8_t type;
  std::optional<uint8_t> code{};
};
std::span<const IcmpName> icmp_names();

}  // namespace penstock
