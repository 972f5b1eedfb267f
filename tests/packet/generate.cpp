#include "tests/packet/generate.h"

#include <algorithm>
#include <string>

#include "features/wireguard/config.h"

namespace penstock::packet_test {
namespace {

// Few enough that rules and packets meet, at the edges of prefixes.
const char* const v4_pool[] = {"192.0.2.0",    "192.0.2.7",  "192.0.2.255", "198.51.100.10", "203.0.113.1",
                               "203.0.113.16", "10.0.0.0",   "10.255.255.255", "255.255.255.255", "0.0.0.0"};
const char* const v6_pool[] = {"2001:db8::1", "2001:db8:0:1::", "2001:db8:1::7", "2001:db8:1:ffff:ffff:ffff:ffff:ffff",
                               "fe80::1",     "ff02::1",        "::1",           "2001:db9::"};
constexpr uint16_t port_pool[] = {0, 22, 53, 67, 68, 80, 443, 546, 547, 1023, 1024, 65535};
constexpr uint8_t extension_pool[] = {0, 43, 44, 51, 60, 135, 139, 140};

void put16(Frame& f, size_t at, size_t value) {
  f[at] = static_cast<uint8_t>(value >> 8);
  f[at + 1] = static_cast<uint8_t>(value);
}
void append16(Frame& f, size_t value) {
  f.resize(f.size() + 2);
  put16(f, f.size() - 2, value);
}

}  // namespace

Address Generator::address(bool v6) {
  if (chance(15)) return v6 ? Address{0x20010db8ull << 32 | below(1ull << 32), random_()} : Address::v4(static_cast<uint32_t>(random_()));
  return *Address::parse(v6 ? pick(v6_pool) : pick(v4_pool));
}

uint16_t Generator::port() { return chance(20) ? static_cast<uint16_t>(random_()) : pick(port_pool); }

void Generator::payload(Frame& out, size_t room) {
  const size_t most = chance(3) ? room : std::min<size_t>(room, 80);
  for (size_t n = below(most + 1); n > 0; --n) out.push_back(static_cast<uint8_t>(random_()));
}

// A WireGuard message, or nearly one.
void Generator::wireguard(Frame& out, size_t room) {
  constexpr size_t lengths[] = {32, 148, 92, 64, 32, 32};  // by type, 0 and 5 are none
  const size_t type = below(std::size(lengths));
  size_t length = chance(70) ? lengths[type] : pick(lengths);
  if (type == 4 && chance(50)) length += below(100);
  if (chance(15)) length -= chance(50) ? 1 : below(32);
  const size_t start = out.size();
  out.resize(start + std::min(room, length));
  if (out.size() == start) return;
  out[start] = static_cast<uint8_t>(type);
  if (chance(10)) out[std::min(start + 1 + below(3), out.size() - 1)] = 1;
}

void Generator::transport(Frame& out, unsigned protocol, size_t room) {
  const size_t start = out.size();
  if (protocol == 6) {
    append16(out, port());
    append16(out, port());
    out.resize(start + 20);
    const size_t words = chance(50) ? 5 : 5 + below(11);
    out[start + 12] = static_cast<uint8_t>(words << 4 | below(16));
    out[start + 13] = static_cast<uint8_t>(random_());
    out.resize(start + words * 4);
    payload(out, room);
  } else if (protocol == 17) {
    constexpr uint16_t dhcp[][2] = {{67, 68}, {547, 546}};
    const bool reply = chance(8);
    const uint16_t* pair = dhcp[below(2)];
    append16(out, reply ? pair[0] : port());
    append16(out, reply ? pair[1] : port());
    out.resize(start + 8);
    chance(25) ? wireguard(out, room) : payload(out, room);
    put16(out, start + 4, out.size() - start);
  } else if (protocol == 1 || protocol == 58) {
    constexpr uint8_t types[] = {0, 3, 4, 5, 8, 11, 12, 13, 127, 128, 129, 133, 134, 135, 136, 137, 138, 1, 2};
    out.resize(start + 8);
    out[start] = pick(types);
    out[start + 1] = static_cast<uint8_t>(chance(50) ? 0 : below(5));
    if (!quoting_ && chance(60)) {
      quoting_ = true;  // no quote of a quote
      Frame quote;
      chance(90) == (protocol == 58) ? ipv6(quote, 64) : ipv4(quote, 64);
      quoting_ = false;
      if (chance(15)) mutate(quote, 0);
      if (chance(50)) quote.resize(std::min<size_t>(quote.size(), 20 + below(60)));
      out.insert(out.end(), quote.begin(), quote.end());
    } else {
      payload(out, room);
    }
  } else {
    payload(out, room);
  }
}

void Generator::ipv4(Frame& out, size_t room) {
  constexpr uint8_t protocols[] = {6, 6, 6, 17, 17, 1, 58, 47, 50, 51, 0, 255};
  const size_t start = out.size();
  const size_t words = chance(70) ? 5 : 5 + below(11);
  out.resize(start + words * 4);
  const unsigned protocol = pick(protocols);
  out[start] = static_cast<uint8_t>(0x40 | words);
  out[start + 1] = static_cast<uint8_t>(random_());
  if (chance(25)) {  // a fragment
    constexpr uint16_t offsets[] = {0, 0, 1, 2, 185, 8191};
    put16(out, start + 6, (chance(60) ? 0x2000u : 0u) | pick(offsets));
    put16(out, start + 4, below(3));  // few datagrams, so that fragments find each other
  } else if (chance(50)) {
    put16(out, start + 6, 0x4000);
  }
  out[start + 8] = chance(30) ? 255 : 64;
  out[start + 9] = static_cast<uint8_t>(protocol);
  for (const size_t at : {start + 12, start + 16}) {
    const uint32_t a = address(false).v4();
    put16(out, at, a >> 16);
    put16(out, at + 2, a & 0xffff);
  }
  for (size_t i = start + 20; i < out.size(); ++i) out[i] = static_cast<uint8_t>(random_());
  transport(out, protocol, room);
  put16(out, start + 2, out.size() - start);
}

void Generator::ipv6(Frame& out, size_t room) {
  constexpr uint8_t protocols[] = {6, 6, 6, 17, 17, 58, 58, 1, 47, 50, 59};
  const size_t start = out.size();
  out.resize(start + 40);
  out[start] = static_cast<uint8_t>(0x60 | below(16));
  out[start + 1] = static_cast<uint8_t>(random_());
  out[start + 7] = chance(40) ? 255 : 64;
  for (const size_t at : {start + 8, start + 24}) {
    const auto wire = chance(2) ? address(false).wire() : address(true).wire();
    std::copy(wire.begin(), wire.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  }
  size_t next = start + 6;  // where the number of the next header goes
  const size_t extensions = chance(50) ? 0 : chance(85) ? below(4) : below(11);
  for (size_t i = 0; i < extensions; ++i) {
    const uint8_t kind = pick(extension_pool);
    out[next] = kind;
    next = out.size();
    const size_t units = chance(80) ? below(3) : below(20);
    const size_t size = kind == 44 ? 8 : kind == 51 ? (units + 2) * 4 : (units + 1) * 8;
    for (size_t k = 0; k < size; ++k) out.push_back(static_cast<uint8_t>(random_()));
    out[next + 1] = static_cast<uint8_t>(units);
    if (kind == 44) {
      constexpr uint16_t offsets[] = {0, 0, 0, 1, 2, 150};
      put16(out, next + 2, static_cast<size_t>(pick(offsets)) << 3 | below(8));
      put16(out, next + 4, 0);
      put16(out, next + 6, below(3));
    }
  }
  const unsigned protocol = pick(protocols);
  out[next] = static_cast<uint8_t>(protocol);
  transport(out, protocol, room);
  put16(out, start + 4, out.size() - start - 40);
}

void Generator::mutate(Frame& frame, size_t network) {
  switch (below(5)) {
    case 0:  // the end is missing
      frame.resize(1 + below(frame.size()));
      break;
    case 1:  // padding, garbage
      payload(frame, 64);
      break;
    case 2:  // any bytes
      for (size_t n = 1 + below(4); n > 0; --n) frame[below(frame.size())] = static_cast<uint8_t>(random_());
      break;
    case 3:  // a byte of the headers: lengths, offsets, next headers
      if (frame.size() > network) frame[network + below(std::min<size_t>(frame.size() - network, 80))] = static_cast<uint8_t>(chance(50) ? below(16) : random_());
      break;
    case 4:  // a length that is off by little
      if (frame.size() > network + 6) {
        const size_t at = network + (frame[network] >> 4 == 4 ? 2 : 4);
        put16(frame, at, frame[at] * 256u + frame[at + 1] + below(17) - 8);
      }
      break;
  }
}

Frame Generator::frame(bool ethernet, size_t longest) {
  Frame out;
  const bool v6 = chance(45);
  if (ethernet) {
    for (int side = 0; side < 2; ++side) {
      const Mac address = mac();
      out.insert(out.end(), address.bytes.begin(), address.bytes.end());
    }
    const size_t tags = chance(65) ? 0 : below(4);
    for (size_t i = 0; i < tags; ++i) {
      append16(out, chance(60) ? 0x8100 : 0x88a8);
      append16(out, chance(70) ? (random_() & 0xe000) | below(8) : random_() & 0xffff);
    }
    constexpr uint16_t others[] = {0x0806, 0x88cc, 0x9100, 46, 0x8847};
    append16(out, chance(4) ? pick(others) : v6 ? 0x86dd : 0x0800);
  }
  const size_t network = out.size();
  const size_t room = longest - std::min<size_t>(longest, 400);
  v6 ? ipv6(out, room) : ipv4(out, room);
  while (chance(35)) mutate(out, network);
  out.resize(std::clamp<size_t>(out.size(), 14, longest));  // the kernel runs programs on no less than 14 bytes
  return out;
}

Prefix Generator::prefix() {
  const Address a = address(chance(45));
  const unsigned length = a.is_v4() ? 96u + static_cast<unsigned>(chance(20) ? 32 : below(33)) : static_cast<unsigned>(chance(20) ? 128 : below(129));
  const Address m = Prefix::mask(length);
  const Address masked{a.hi & m.hi, a.lo & m.lo};
  return masked.is_v4() == a.is_v4() ? Prefix{masked, static_cast<uint8_t>(length)} : Prefix{a, 128};
}

AddressMatch Generator::address_match(const std::vector<Set>& sets) {
  AddressMatch out;
  if (chance(50)) return out;
  out.any = false;
  out.negate = chance(25);
  const size_t named = below(3);
  for (size_t i = 0; i < named; ++i) out.sets.push_back(sets[below(sets.size())].name);
  for (size_t i = named ? below(3) : 1 + below(3); i > 0; --i) out.prefixes.push_back(prefix());
  return out;
}

PortMatch Generator::port_match() {
  PortMatch out;
  if (chance(50)) return out;
  out.negate = chance(25);
  std::vector<uint16_t> edges;
  for (size_t i = 2 * (1 + below(3)); i > 0; --i) edges.push_back(port());
  std::ranges::sort(edges);
  for (size_t i = 0; i + 1 < edges.size(); i += 2) {
    if (!out.ranges.empty() && edges[i] <= out.ranges.back().last + 1u)  // sorted, disjoint, not adjacent
      out.ranges.back().last = std::max(out.ranges.back().last, edges[i + 1]);
    else
      out.ranges.push_back({edges[i], edges[i + 1]});
  }
  return out;
}

NumberMatch Generator::number_match(unsigned most, unsigned common) {
  NumberMatch out;
  out.negate = chance(25);
  for (size_t i = 1 + below(3); i > 0; --i) {
    uint16_t edges[2];
    for (uint16_t& edge : edges) edge = static_cast<uint16_t>(chance(60) ? below(common + 1) : below(most + 1));
    out.ranges.push_back({std::min(edges[0], edges[1]), std::max(edges[0], edges[1])});
  }
  merge(out.ranges);
  if (out.ranges.front() == NumberRange{0, static_cast<uint16_t>(most)}) out.negate = false;
  return out;
}

// One or two of the rarer matches, so that packets still meet the rule.
void Generator::headers(Rule& rule) {
  for (size_t n = 1 + below(2); n > 0; --n) {
    switch (below(10)) {
      case 0:
        if (rule.proto.value_or(6) != 6 || !rule.icmp.kinds.empty()) break;
        rule.proto = 6;
        rule.flags = chance(30) ? FlagsMatch{2, 1 | 4 | 16, 0} : chance(30) ? FlagsMatch{0, 0, 4 | 16} : FlagsMatch{static_cast<uint8_t>(1u << below(8)), 0, 0};
        if (chance(40)) rule.flags.clear |= static_cast<uint8_t>(1u << below(8)) & ~rule.flags.set;
        break;
      case 1: {
        if (rule.proto && *rule.proto != 1 && *rule.proto != 58) break;
        constexpr uint8_t types[] = {0, 3, 8, 11, 128, 129, 135, 1, 2};
        for (size_t i = 1 + below(3); i > 0; --i) {
          const bool v6 = rule.proto ? *rule.proto == 58 : chance(50);
          rule.icmp.kinds.push_back({v6, pick(types), chance(70) ? std::nullopt : std::optional(static_cast<uint8_t>(below(4)))});
        }
        break;
      }
      case 2: rule.vlan = chance(40) ? NumberMatch{chance(50), {{no_vlan, no_vlan}}} : number_match(4095, 7); break;
      case 3: rule.dscp = number_match(63, 63); break;
      case 4: rule.ttl = number_match(255, 64); break;
      case 5: rule.length = number_match(65535, 200); break;
      case 6: {
        constexpr FragmentMatch kinds[] = {FragmentMatch::first, FragmentMatch::later, FragmentMatch::any, FragmentMatch::none};
        rule.fragment = pick(kinds);
        break;
      }
      case 7: rule.options = chance(50) ? OptionsMatch::present : OptionsMatch::absent; break;
      case 8:
        rule.mac.negate = chance(40);
        for (size_t i = 1 + below(3); i > 0; --i) rule.mac.addresses.push_back(mac());
        break;
      case 9:
        rule.interface.negate = chance(40);
        rule.interface.names = {chance(50) ? "a" : "b"};
        break;
    }
  }
}

// Rates that packets of a generated past exceed now and then.
Limit Generator::limit(bool may_ban) {
  Limit out;
  constexpr uint64_t amounts[] = {1, 3, 10, 100, 1000, 7777};
  constexpr uint32_t seconds[] = {1, 60};
  constexpr uint64_t bits[] = {1'000'000, 8'000'000, 50'000'000, 400'000'000, 1'000'000'000};  // a byte takes a whole number of ticks
  out.rate = chance(25) ? Rate{Counted::bytes, pick(bits), 1} : Rate{Counted::packets, pick(amounts), pick(seconds)};
  out.burst = chance(50) ? default_burst(out.rate) : out.rate.counted == Counted::bytes ? 1 + below(5000) : 1 + below(6);
  constexpr LimitPer pers[] = {LimitPer::source, LimitPer::source, LimitPer::source, LimitPer::destination, LimitPer::destination, LimitPer::source_destination, LimitPer::flow, LimitPer::rule};
  constexpr uint8_t lengths4[] = {32, 32, 24, 8, 31}, lengths6[] = {64, 64, 48, 128, 33};
  out.per = pick(pers);
  if (out.per != LimitPer::flow && out.per != LimitPer::rule) {
    out.length4 = pick(lengths4);
    out.length6 = pick(lengths6);
  }
  if (may_ban && chance(75) && (out.per == LimitPer::source || out.per == LimitPer::destination) && out.length6 <= 64) {
    const std::chrono::milliseconds time(1 + below(3000));
    const auto factor = static_cast<uint32_t>(1 + below(4));
    out.ban = Ban{time, factor, factor == 1 ? time : time * static_cast<int64_t>(1 + below(9))};
  }
  out.entries = out.per == LimitPer::rule ? 1 : 8192;  // more than there are: what makes room no model can tell
  return out;
}

Mac Generator::mac() { return {{2, 0, 0, 0, 0, static_cast<uint8_t>(below(4))}}; }

Rule Generator::rule(const std::vector<Set>& sets, size_t number) {
  constexpr uint8_t protocols[] = {6, 6, 17, 17, 1, 58, 47, 0, 51};
  Rule out;
  out.name = "r" + std::to_string(number);
  out.from = address_match(sets);
  out.to = address_match(sets);
  if (chance(75)) out.proto = pick(protocols);
  if (out.proto && (*out.proto == 6 || *out.proto == 17)) {
    out.from_port = port_match();
    out.to_port = port_match();
  }
  out.socket = chance(5);
  if (chance(40)) headers(out);
  out.action = chance(15) ? Action::continue_ : chance(45) ? Action::accept : chance(30) ? Action::reject : Action::drop;
  out.audit = (out.action == Action::drop || out.action == Action::reject) && chance(15);
  out.limited = chance(20);
  if (out.limited) {
    out.extensions.set(limit(out.action != Action::accept));
    if (chance(60)) out.from = out.to = {}, out.from_port = out.to_port = {};  // to meet many packets
  }
  return out;
}

Config Generator::config() {
  Config out;
  for (const char* name : {"a", "b"}) {
    Interface i;
    i.name = name;
    i.match = {std::string("dev-") + name};
    i.malformed = chance(70) ? Malformed::drop : Malformed::pass;
    if (chance(50)) {
      WireGuard guard{.ports = chance(50) ? std::vector<uint16_t>{53} : std::vector<uint16_t>{22, 53, 443, 65535}};
      if (chance(30)) guard.handshakes = Rate{Counted::packets, 20, 1};
      i.extensions.set(guard);
    }
    out.interfaces.push_back(i);
  }
  for (const char* name : {"s0", "s1", "s2"}) {
    Set set;
    set.name = name;
    for (size_t i = below(chance(30) ? 60 : 6); i > 0; --i) set.prefixes.push_back(prefix());
    std::ranges::sort(set.prefixes);
    set.prefixes.erase(std::ranges::unique(set.prefixes).begin(), set.prefixes.end());
    out.sets.push_back(set);
  }
  const size_t policies = chance(8) ? 0 : 1 + below(3);
  for (size_t p = 0; p < policies; ++p) {
    Policy policy;
    policy.name = "p" + std::to_string(p);
    if (chance(93)) policy.attach.push_back({"a", {}});
    if (chance(40)) policy.attach.push_back({"b", {}});
    policy.mode = chance(75) ? Mode::enforce : Mode::audit;
    policy.default_action = chance(50) ? Action::accept : Action::drop;
    const size_t rules = chance(80) ? below(8) : below(60);
    for (size_t r = 0; r < rules; ++r) policy.rules.push_back(rule(out.sets, r));
    out.policies.push_back(policy);
  }
  return out;
}

}  // namespace penstock::packet_test
