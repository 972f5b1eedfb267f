// Addresses and prefixes of both families in one type.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

// 128 bits as two numbers in host order: hi holds the first eight bytes on the wire.  IPv4 lies in ::ffff:0:0/96.
struct Address {
  uint64_t hi = 0;
  uint64_t lo = 0;

  static constexpr uint64_t v4_mark = 0x0000'ffff'0000'0000;
  static constexpr Address v4(uint32_t host_order) { return {0, v4_mark | host_order}; }
  static Address v6(const uint8_t wire[16]);
  // "192.0.2.1", "2001:db8::1".  No leading zeros in octets, no zone, and not "::ffff:192.0.2.1": IPv4 is written as IPv4.
  static std::optional<Address> parse(std::string_view text);
  constexpr bool is_v4() const { return hi == 0 && (lo >> 32) == 0xffff; }
  constexpr uint32_t v4() const { return static_cast<uint32_t>(lo); }  // host order
  std::array<uint8_t, 16> wire() const;  // network order, IPv4 mapped
  std::string text() const;
  constexpr auto operator<=>(const Address&) const = default;
};

// length counts bits of the 128: an IPv4 /24 has length 120.  Host bits are zero.
struct Prefix {
  Address address;
  uint8_t length = 128;

  constexpr bool is_v4() const { return address.is_v4() && length >= 96; }
  constexpr unsigned family_length() const { return is_v4() ? length - 96u : length; }  // what people write
  static constexpr Address mask(unsigned length) {
    return {length == 0 ? 0 : length >= 64 ? ~0ull : ~0ull << (64 - length),
            length <= 64 ? 0 : length >= 128 ? ~0ull : ~0ull << (128 - length)};
  }
  // An IPv6 prefix never contains an IPv4 address, though "::/0" covers where IPv4 lies in the 128 bits.
  constexpr bool contains(const Address& a) const {
    if (a.is_v4() != is_v4()) return false;
    const Address m = mask(length);
    return (a.hi & m.hi) == address.hi && (a.lo & m.lo) == address.lo;
  }
  std::string text() const;  // "192.0.2.0/24"; a host is written without length
  constexpr auto operator<=>(const Prefix&) const = default;  // by address, wider first
};

// Why a text is no prefix.  length: beyond 32 or 128, or with a leading zero.  host_bits: `prefix` holds the text with its
// host bits cleared, for the hint.  mapped: IPv4 written as IPv6, "::ffff:192.0.2.1".
enum class PrefixError { none, syntax, length, host_bits, mapped };
struct ParsedPrefix {
  PrefixError error = PrefixError::none;
  Prefix prefix{};
};
ParsedPrefix parse_prefix(std::string_view text);  // fast: no allocation; used on a million lines

}  // namespace penstock
