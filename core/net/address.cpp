#include "core/net/address.h"

#include <fmt/format.h>

namespace penstock {
namespace {

struct Cursor {
  const char* at;
  const char* end;
  bool done() const { return at == end; }
  char peek() const { return at == end ? '\0' : *at; }
};

// A decimal number without sign or leading zeros, at most `most`.
bool parse_decimal(Cursor& c, unsigned most, unsigned& out) {
  const char* start = c.at;
  unsigned value = 0;
  while (!c.done() && *c.at >= '0' && *c.at <= '9') {
    value = value * 10 + static_cast<unsigned>(*c.at++ - '0');
    if (value > most) return false;
  }
  if (c.at == start || (*start == '0' && c.at - start > 1)) return false;
  out = value;
  return true;
}

bool parse_v4(Cursor& c, uint32_t& out) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && (c.done() || *c.at++ != '.')) return false;
    unsigned octet = 0;
    if (!parse_decimal(c, 255, octet)) return false;
    value = value << 8 | octet;
  }
  out = value;
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 4291 section 2.2, all three forms.
bool parse_v6(Cursor& c, Address& out) {
  std::array<uint16_t, 8> groups{};
  int count = 0;
  int gap = -1;  // how many groups stand before "::"
  if (c.peek() == ':') {
    if (++c.at, c.peek() != ':') return false;
    ++c.at;
    gap = 0;
  }
  while (count < 8 && hex_digit(c.peek()) >= 0) {
    const char* start = c.at;
    unsigned value = 0;
    while (!c.done() && hex_digit(*c.at) >= 0) {
      if (c.at - start == 4) return false;
      value = value << 4 | static_cast<unsigned>(hex_digit(*c.at++));
    }
    if (c.peek() == '.') {  // the last 32 bits in dotted form
      uint32_t v4 = 0;
      c.at = start;
      if (count > 6 || !parse_v4(c, v4)) return false;
      groups[static_cast<size_t>(count++)] = static_cast<uint16_t>(v4 >> 16);
      groups[static_cast<size_t>(count++)] = static_cast<uint16_t>(v4);
      break;
    }
    groups[static_cast<size_t>(count++)] = static_cast<uint16_t>(value);
    if (c.peek() != ':') break;
    ++c.at;
    if (c.peek() == ':') {
      if (gap >= 0) return false;
      gap = count;
      ++c.at;
    } else if (hex_digit(c.peek()) < 0 || count == 8) {
      return false;  // a single colon at the end
    }
  }
  if (gap < 0 ? count != 8 : count > 7) return false;
  std::array<uint16_t, 8> all{};
  const int tail = gap < 0 ? 0 : count - gap;
  for (int i = 0; i < count - tail; ++i) all[static_cast<size_t>(i)] = groups[static_cast<size_t>(i)];
  for (int i = 0; i < tail; ++i) all[static_cast<size_t>(8 - tail + i)] = groups[static_cast<size_t>(count - tail + i)];
  out = {};
  for (size_t i = 0; i < 4; ++i) {
    out.hi = out.hi << 16 | all[i];
    out.lo = out.lo << 16 | all[i + 4];
  }
  return true;
}

bool parse_any(Cursor& c, Address& out) {
  // An IPv4 address has its first dot within four characters; everything else must be IPv6.
  for (const char* p = c.at; p != c.end && p < c.at + 4; ++p) {
    if (*p == '.') {
      uint32_t v4 = 0;
      if (!parse_v4(c, v4)) return false;
      out = Address::v4(v4);
      return true;
    }
  }
  return parse_v6(c, out);
}

bool written_as_v6(std::string_view text) { return text.substr(0, 5).find(':') != text.npos; }

}  // namespace

Address Address::v6(const uint8_t wire[16]) {
  Address a;
  for (int i = 0; i < 8; ++i) {
    a.hi = a.hi << 8 | wire[i];
    a.lo = a.lo << 8 | wire[i + 8];
  }
  return a;
}

std::optional<Address> Address::parse(std::string_view text) {
  Cursor c{text.data(), text.data() + text.size()};
  Address out;
  if (!parse_any(c, out) || !c.done()) return std::nullopt;
  if (out.is_v4() && written_as_v6(text)) return std::nullopt;
  return out;
}

std::array<uint8_t, 16> Address::wire() const {
  std::array<uint8_t, 16> out;
  for (size_t i = 0; i < 8; ++i) {
    out[i] = static_cast<uint8_t>(hi >> (56 - 8 * i));
    out[i + 8] = static_cast<uint8_t>(lo >> (56 - 8 * i));
  }
  return out;
}

std::string Address::text() const {
  if (is_v4()) {
    const uint32_t a = v4();
    return fmt::format("{}.{}.{}.{}", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
  }
  std::array<unsigned, 8> groups;
  for (size_t i = 0; i < 4; ++i) {
    groups[i] = static_cast<unsigned>(hi >> (48 - 16 * i) & 0xffff);
    groups[i + 4] = static_cast<unsigned>(lo >> (48 - 16 * i) & 0xffff);
  }
  // RFC 5952: the longest run of two or more zero groups, the first of equals.
  size_t best = 8, best_length = 1;
  for (size_t i = 0; i < 8; ++i) {
    size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > best_length) {
      best = i;
      best_length = end - i;
    }
    if (end > i) i = end - 1;
  }
  std::string out;
  for (size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    out += fmt::format("{:x}", groups[i]);
  }
  return out;
}

std::string Prefix::text() const {
  std::string out = address.text();
  if (length < 128) out += fmt::format("/{}", family_length());
  return out;
}

ParsedPrefix parse_prefix(std::string_view text) {
  Cursor c{text.data(), text.data() + text.size()};
  Prefix p;
  if (!parse_any(c, p.address)) return {PrefixError::syntax, {}};
  const bool v6 = written_as_v6(text);
  if (!c.done()) {
    if (*c.at++ != '/' || c.done()) return {PrefixError::syntax, {}};
    for (const char* digit = c.at; digit != c.end; ++digit)
      if (*digit < '0' || *digit > '9') return {PrefixError::syntax, {}};
    unsigned length = 0;
    if (!parse_decimal(c, v6 ? 128 : 32, length)) return {PrefixError::length, {}};
    p.length = static_cast<uint8_t>(v6 ? length : length + 96);
  }
  if (v6 && p.address.is_v4() && p.length >= 96) return {PrefixError::mapped, {}};
  const Address mask = Prefix::mask(p.length);
  const Address cleared{p.address.hi & mask.hi, p.address.lo & mask.lo};
  if (cleared != p.address) return {PrefixError::host_bits, {cleared, p.length}};
  return {PrefixError::none, p};
}

}  // namespace penstock
