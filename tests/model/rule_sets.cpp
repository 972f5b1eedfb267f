#include "tests/model/rule_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace penstock::rule_sets {
namespace {

constexpr uint8_t tcp = 6, udp = 17, icmp = 1, icmpv6 = 58;

// Cumulative shares in per cent.
struct Statistics {
  std::array<int, 5> source, destination;           // any, /8-16, /17-24, /25-31, /32
  std::array<int, 4> source_port, destination_port; // any, 1024-, range, one
  std::array<int, 4> proto;                         // tcp, udp, icmp, any
};
constexpr Statistics statistics[] = {
    {{4, 10, 38, 65, 100}, {2, 4, 16, 40, 100}, {98, 98, 98, 100}, {26, 34, 44, 100}, {76, 92, 94, 100}},
    {{38, 42, 58, 70, 100}, {26, 30, 46, 58, 100}, {64, 78, 80, 100}, {30, 40, 48, 100}, {58, 84, 88, 100}},
    {{12, 20, 44, 60, 100}, {8, 14, 40, 58, 100}, {80, 86, 88, 100}, {44, 52, 60, 100}, {52, 78, 86, 100}},
};
constexpr uint16_t well_known[] = {80,  443, 22,  25,  53,   123,  110,  143,  161,  389,  445,  993,
                                   995, 21,  23,  179, 1433, 1521, 3306, 3389, 5060, 5432, 8080, 8443};

uint64_t below(Random& random, uint64_t n) { return random() % n; }

template <size_t N>
size_t pick(const std::array<int, N>& cumulative, Random& random) {
  const int at = static_cast<int>(below(random, 100));
  size_t i = 0;
  while (i + 1 < N && at >= cumulative[i]) ++i;
  return i;
}

Address masked(Address a, unsigned length) {
  const Address m = Prefix::mask(length);
  return {a.hi & m.hi, a.lo & m.lo};
}

Address or_with(const Address& a, const Address& b) { return {a.hi | b.hi, a.lo | b.lo}; }

// The address inside of the prefix whose free bits are those of `bits`.
Address inside(const Prefix& p, const Address& bits) {
  const Address m = Prefix::mask(p.length);
  return or_with(p.address, {bits.hi & ~m.hi, bits.lo & ~m.lo});
}

Address step(Address a, bool up) {
  if (up) {
    a.hi += ++a.lo == 0;
  } else {
    a.hi -= a.lo-- == 0;
  }
  return a;
}

class Networks {
 public:
  Networks(bool ipv4, size_t rules, Random& random) : ipv4_(ipv4) {
    std::vector<Address> blocks;
    for (int i = 0; i < 64; ++i)
      blocks.push_back(ipv4 ? Address::v4(static_cast<uint32_t>(random()))
                            : Address{0x2000'0000'0000'0000ull | random() >> 3, 0});
    const size_t count = std::clamp<size_t>(rules / 8, 2, 4096);
    for (size_t i = 0; i < count; ++i) {
      const Prefix block{masked(blocks[below(random, blocks.size())], ipv4 ? 96 + 12 : 28), static_cast<uint8_t>(ipv4 ? 96 + 12 : 28)};
      networks_.push_back(inside(block, {random(), random()}));
    }
  }

  Prefix prefix(size_t kind, Random& random) const {
    uint8_t length;
    if (ipv4_) {
      constexpr unsigned first[] = {0, 8, 17, 25, 32}, last[] = {0, 16, 24, 31, 32};
      length = static_cast<uint8_t>(96 + first[kind] + below(random, last[kind] - first[kind] + 1));
    } else {
      constexpr uint8_t lengths[][2] = {{0, 0}, {32, 40}, {48, 56}, {64, 64}, {128, 128}};
      length = lengths[kind][below(random, 2)];
    }
    Address base = ipv4_ ? Address::v4(static_cast<uint32_t>(random())) : Address{0x2000'0000'0000'0000ull | random() >> 3, random()};
    if (below(random, 4)) {
      const size_t hot = std::max<size_t>(1, networks_.size() / 10);
      const Address& network = networks_[below(random, below(random, 2) ? hot : networks_.size())];
      const uint8_t known = ipv4_ ? 96 + 22 : 48;
      base = inside({masked(network, known), known}, {random(), random()});
      if (!ipv4_) base.hi = (base.hi & ~0xffull) | (random() & 7);  // a few /64s in each
    }
    return {masked(base, length), length};
  }

 private:
  bool ipv4_;
  std::vector<Address> networks_;
};

PortRange ports(size_t kind, Random& random) {
  if (kind == 0) return {};
  if (kind == 1) return {1024, 65535};
  if (kind == 2) {
    const auto first = static_cast<uint16_t>(below(random, 200) * 100);
    constexpr uint16_t widths[] = {1, 2, 4, 9, 99, 999, 9999};
    return {first, static_cast<uint16_t>(first + widths[below(random, 7)])};
  }
  const auto port = static_cast<uint16_t>(below(random, 4) ? well_known[below(random, 24)] : below(random, 65536));
  return {port, port};
}

}  // namespace

const char* name(Family family) {
  constexpr const char* names[] = {"access lists", "firewalls", "IP chains"};
  return names[static_cast<int>(family)];
}

const char* name(Addresses addresses) {
  constexpr const char* names[] = {"IPv4", "IPv6", "mixed"};
  return names[static_cast<int>(addresses)];
}

std::vector<ClassifierRule> generate(Family family, Addresses addresses, size_t count, uint64_t seed) {
  const Statistics& s = statistics[static_cast<int>(family)];
  Random random(seed);
  const Networks networks[2] = {Networks(false, count, random), Networks(true, count, random)};
  std::vector<ClassifierRule> out(count);
  for (size_t i = 0; i < count; ++i) {
    ps_rule& rule = out[i].rule;
    const bool ipv4 = addresses == Addresses::ipv4 || (addresses == Addresses::mixed && below(random, 2));
    for (int side = 0; side < 2; ++side) {
      rule.port_last[side] = 65535;
      if (const size_t kind = pick(side ? s.destination : s.source, random)) out[i].prefix[side] = networks[ipv4].prefix(kind, random);
    }
    if (const size_t proto = pick(s.proto, random); proto < 3) {
      rule.flags |= PS_RULE_PROTO;
      rule.proto = proto == 0 ? tcp : proto == 1 ? udp : ipv4 ? icmp : icmpv6;
      if (proto == 2) rule.needs |= ipv4 ? PS_IPV4 : PS_IPV6;
      if (proto < 2) {
        const PortRange from = ports(pick(s.source_port, random), random), to = ports(pick(s.destination_port, random), random);
        rule.port_first[0] = from.first, rule.port_last[0] = from.last;
        rule.port_first[1] = to.first, rule.port_last[1] = to.last;
        if (from != PortRange{} || to != PortRange{}) rule.needs |= PS_PORTS;
      }
    }
    rule.slot = static_cast<uint32_t>(i);
    rule.verdict = random() & 1 ? PS_PASS : PS_DROP;
  }
  return out;
}

ps_datagram aim(const ClassifierRule& aimed, bool edge, Random& random) {
  const ps_rule& rule = aimed.rule;
  ps_datagram d{};
  bool ipv4 = random() & 1;
  if (rule.needs & (PS_IPV4 | PS_IPV6)) ipv4 = rule.needs & PS_IPV4;
  for (const auto& prefix : aimed.prefix)
    if (prefix) ipv4 = prefix->is_v4();
  d.flags = ipv4 ? PS_IPV4 : PS_IPV6;
  if (rule.flags & PS_RULE_PROTO)
    d.protocol = rule.proto;
  else if (rule.needs & PS_PORTS || below(random, 4))
    d.protocol = random() & 1 ? tcp : udp;
  else
    d.protocol = static_cast<uint8_t>(random());
  if (edge && !below(random, 16)) d.protocol ^= 1;
  const bool later = edge && !below(random, 16);
  if (later) d.flags |= PS_LATER_FRAGMENT;
  if (!later && (d.protocol == tcp || d.protocol == udp)) d.flags |= PS_PORTS;
  if (!later && d.protocol == (ipv4 ? icmp : icmpv6)) d.flags |= PS_ICMP;

  const Prefix family = ipv4 ? Prefix{Address::v4(0), 96} : Prefix{{0x2000'0000'0000'0000ull, 0}, 3};
  for (int side = 0; side < 2; ++side) {
    const Prefix prefix = aimed.prefix[side] && aimed.prefix[side]->is_v4() == ipv4 ? *aimed.prefix[side] : family;
    Address a = inside(prefix, {random(), random()});
    if (edge) {
      const uint64_t where = below(random, 5);
      if (where < 4) {
        const bool end = where & 1;
        a = inside(prefix, end ? Address{~0ull, ~0ull} : Address{});
        if (where & 2) a = step(a, end);
        if (a.is_v4() != ipv4) a = inside(prefix, {});  // left the family
      }
    }
    d.address[side] = {a.hi, a.lo};
    if (!(d.flags & PS_PORTS)) continue;
    const uint16_t first = rule.port_first[side], last = rule.port_last[side];
    auto port = static_cast<uint16_t>(first + below(random, last - first + 1u));
    if (edge) {
      const uint64_t where = below(random, 6);
      if (where < 4) port = static_cast<uint16_t>(where == 0 ? first : where == 1 ? last : where == 2 ? first - 1 : last + 1);
    }
    d.port[side] = port;
  }
  return d;
}

bool in_set(std::span<const Prefix> set, const Address& address) {
  return std::ranges::any_of(set, [&](const Prefix& p) { return p.is_v4() == address.is_v4() && p.contains(address); });
}

bool matches(const ClassifierRule& r, const ps_datagram& d, const Sets& sets, bool owned) {
  const ps_rule& rule = r.rule;
  if ((rule.needs & d.flags) != rule.needs) return false;
  if (rule.flags & PS_RULE_PROTO && d.protocol != rule.proto) return false;
  for (int side = 0; side < 2; ++side) {
    const Address a{d.address[side].hi, d.address[side].lo};
    if (d.port[side] < rule.port_first[side] || d.port[side] > rule.port_last[side]) return false;
    if (r.prefix[side] && !in_set({&*r.prefix[side], 1}, a)) return false;
    const int asked = side == PS_SOURCE ? PS_RULE_FROM : PS_RULE_TO;
    const int negated = side == PS_SOURCE ? PS_RULE_FROM_NEGATED : PS_RULE_TO_NEGATED;
    if (rule.flags & asked && in_set(sets[rule.set[side]], a) == !!(rule.flags & negated)) return false;
  }
  return !(rule.flags & PS_RULE_SOCKET) || owned;
}

long first_match(const std::vector<ClassifierRule>& rules, const ps_datagram& packet, const Sets& sets, bool owned) {
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!matches(rules[i], packet, sets, owned)) continue;
    if (rules[i].rule.verdict != PS_RULE_SKIP) return static_cast<long>(i);
    i += rules[i].rule.slot;
  }
  return -1;
}

Config config_of(std::span<const ClassifierRule> rules) {
  Config config;
  Interface interface;
  interface.name = "a";
  interface.match = {"dev"};
  config.interfaces.push_back(interface);
  Policy policy;
  policy.name = "edge";
  policy.attach.push_back({"a", {}});
  policy.default_action = Action::accept;
  for (size_t i = 0; i < rules.size(); ++i) {
    Rule rule;
    rule.name = fmt::format("r{}", i);
    for (int side = 0; side < 2; ++side) {
      if (!rules[i].prefix[side]) continue;
      AddressMatch& match = side == PS_SOURCE ? rule.from : rule.to;
      match.any = false;
      match.prefixes = {*rules[i].prefix[side]};
    }
    const ps_rule& r = rules[i].rule;
    if (r.flags & PS_RULE_PROTO) rule.proto = r.proto;
    for (int side = 0; side < 2; ++side) {
      const PortRange range{r.port_first[side], r.port_last[side]};
      if (range != PortRange{}) (side == PS_SOURCE ? rule.from_port : rule.to_port).ranges = {range};
    }
    rule.action = r.verdict == PS_PASS ? Action::accept : Action::drop;
    policy.rules.push_back(rule);
  }
  config.policies.push_back(policy);
  return config;
}

}  // namespace penstock::rule_sets
