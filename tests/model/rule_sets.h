// Generated rule sets in the manner of ClassBench (Taylor and Turner, 2007), packets for them, and the plain model:
// the first match of a list, one rule after the other.  Shares no code with the classifier.
//
// Statistics of the three families (share of rules, in per cent).  Prefix lengths are for IPv4; for IPv6 they are
// mapped to /32, /40, /48, /56, /64 and /128.
//
//                      access lists                 firewalls                    IP chains
//   source             any 4, /8-16 6, /17-24 28,   any 38, /8-16 4, /17-24 16,  any 12, /8-16 8, /17-24 24,
//                      /25-31 27, /32 35            /25-31 12, /32 30            /25-31 16, /32 40
//   destination        any 2, /8-16 2, /17-24 12,   any 26, /8-16 4, /17-24 16,  any 8, /8-16 6, /17-24 26,
//                      /25-31 24, /32 60            /25-31 12, /32 42            /25-31 18, /32 42
//   source port        any 98, one 2                any 64, 1024- 14, range 2,   any 80, 1024- 6, range 2,
//                                                   one 20                       one 12
//   destination port   any 26, 1024- 8, range 10,   any 30, 1024- 10, range 8,   any 44, 1024- 8, range 8,
//                      one 56                       one 52                       one 40
//   protocol           tcp 76, udp 16, icmp 2,      tcp 58, udp 26, icmp 4,      tcp 52, udp 26, icmp 8,
//                      any 6                        any 12                       any 14
//
// Addresses cluster: rules / 8 networks (at most 4,096) lie at random within 64 blocks; three quarters of all prefixes
// lie in one of them, half of those among the first tenth.  One port is one of 24 well-known ones in three of four
// cases.  Rules without TCP or UDP have no ports.
#pragma once
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "app/config.h"
#include "bpf/packet.h"
#include "core/net/address.h"
#include "features/policy/classifier.h"
#include "features/policy/config.h"

namespace penstock::rule_sets {

enum class Family { access_lists, firewalls, ip_chains };
enum class Addresses { ipv4, ipv6, mixed };
const char* name(Family family);
const char* name(Addresses addresses);

using Random = std::mt19937_64;

// Rule i has slot i; verdicts alternate at random between PS_PASS and PS_DROP.
std::vector<ClassifierRule> generate(Family family, Addresses addresses, size_t count, uint64_t seed);

// A packet that matches the rule, if any can; `edge`: at the ends of its prefixes and ranges, or just beyond them.
ps_datagram aim(const ClassifierRule& rule, bool edge, Random& random);

// The rules as a file could have them: a node with interface `a` and policy `edge`, default accept; rule i is named `r<i>`.
Config config_of(std::span<const ClassifierRule> rules);

// Sets, as the model sees them: by index in `sets`.
using Sets = std::vector<std::vector<Prefix>>;

// Is the address in the set?  Only prefixes of its family count.
bool in_set(std::span<const Prefix> set, const Address& address);

// Does the rule, by itself, match?  `owned`: a socket of the host owns the packet.
bool matches(const ClassifierRule& rule, const ps_datagram& packet, const Sets& sets, bool owned);

// Index of the first rule that matches, -1 if none does.
long first_match(const std::vector<ClassifierRule>& rules, const ps_datagram& packet, const Sets& sets = {},
                 bool owned = false);

}  // namespace penstock::rule_sets
