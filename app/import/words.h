// Numbers, addresses and protocols as foreign files spell them.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "app/import/ranges.h"
#include "app/import/ruleset.h"

namespace penstock::foreign {

std::optional<uint64_t> number(std::string_view text, uint64_t most = ~0ull);   // decimal or 0x...
std::optional<Ranges> number_range(std::string_view text, char between, uint64_t most);  // "5", "5:9", ":9", "5:"
std::optional<unsigned> protocol(std::string_view name);                       // tcp, ipv6-icmp, 47
// "192.0.2.1", "192.0.2.7/24" (host bits are cleared), "192.0.2.0/255.255.255.0", "192.0.2.1-192.0.2.9".
std::optional<Ranges> addresses(std::string_view text);
std::optional<Value> mac(std::string_view text);
std::optional<Ranges> icmp_kind(std::string_view text, bool v6);               // "8", "3/1", "echo-request", "any"
std::optional<unsigned> tcp_flags(std::string_view text);                      // "SYN,ACK", "ALL", "NONE": their bits
std::optional<unsigned> dscp_class(std::string_view text);                     // "EF", "af11", "cs1", "be"
std::optional<unsigned> state(std::string_view text);                          // "ESTABLISHED": enum State

// All bytes with `byte & mask == value`.
Ranges masked_bytes(unsigned mask, unsigned value);
// Ranges of one number.
inline Ranges just(Value value) { return {value, value}; }

std::vector<std::string_view> split(std::string_view text, char at);           // "" is one empty piece

}  // namespace penstock::foreign
