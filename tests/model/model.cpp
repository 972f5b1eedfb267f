#include "tests/model/model.h"

#include <algorithm>
#include <ostream>

#include "features/wireguard/config.h"
#include "tests/model/answer.h"
#include "tests/model/packet.h"
#include "tests/model/receive.h"

namespace penstock::model {
namespace {

// Bit by bit, on the bytes of the wire.
bool covers(const Prefix& prefix, const Host& host) {
  if (prefix.is_v4() == host.v6) return false;
  const std::array<uint8_t, 16> mapped = prefix.address.wire();
  const uint8_t* want = mapped.data() + (host.v6 ? 0 : 12);
  for (unsigned bit = 0; bit < prefix.family_length(); ++bit) {
    const unsigned shift = 7 - bit % 8;
    if ((want[bit / 8] >> shift) % 2 != (host.bytes[bit / 8] >> shift) % 2) return false;
  }
  return true;
}

bool listed(const std::vector<Prefix>& prefixes, const Host& host) {
  return std::ranges::any_of(prefixes, [&](const Prefix& p) { return covers(p, host); });
}

bool matches(const AddressMatch& match, const Config& config, const Host& host) {
  bool found = match.any || listed(match.prefixes, host);
  for (const std::string& name : match.sets)
    for (const Set& set : config.sets)
      if (set.name == name && listed(set.prefixes, host)) found = true;
  return found != match.negate;
}

bool matches(const PortMatch& match, const std::optional<unsigned>& port) {
  if (match.ranges.empty()) return true;
  if (!port) return false;
  const bool found = std::ranges::any_of(match.ranges, [&](const PortRange& r) { return *port >= r.first && *port <= r.last; });
  return found != match.negate;
}

bool matches(const NumberMatch& match, unsigned number) {
  if (match.ranges.empty()) return true;
  const bool found = std::ranges::any_of(match.ranges, [&](const NumberRange& r) { return number >= r.first && number <= r.last; });
  return found != match.negate;
}

bool matches(const FlagsMatch& match, const std::optional<unsigned>& flags) {
  if (match == FlagsMatch{}) return true;
  if (!flags) return false;
  for (unsigned bit = 1; bit < 256; bit *= 2) {
    const bool is_set = *flags / bit % 2 == 1;
    if (match.set / bit % 2 == 1 && !is_set) return false;
    if (match.clear / bit % 2 == 1 && is_set) return false;
  }
  return match.one_of == 0 || (match.one_of & *flags) != 0;
}

bool matches(const IcmpMatch& match, const Packet& packet) {
  if (match.kinds.empty()) return true;
  return std::ranges::any_of(match.kinds, [&](const IcmpKind& kind) {
    return kind.v6 == packet.source.v6 && packet.icmp_type == kind.type && (!kind.code || packet.icmp_code == *kind.code);
  });
}

bool matches(FragmentMatch match, const Packet& packet) {
  switch (match) {
    case FragmentMatch::first: return packet.first_fragment;
    case FragmentMatch::later: return packet.later_fragment;
    case FragmentMatch::any: return packet.first_fragment || packet.later_fragment;
    case FragmentMatch::none: return !packet.first_fragment && !packet.later_fragment;
    case FragmentMatch::every: break;
  }
  return true;
}

// What is said of the frame and the IP header.
bool matches_headers(const Rule& rule, const Interface& interface, const Packet& packet) {
  if (!matches(rule.vlan, packet.vlans.empty() ? unsigned{no_vlan} : packet.vlans.front())) return false;
  if (!matches(rule.dscp, packet.dscp) || !matches(rule.ttl, packet.hop_limit) || !matches(rule.length, packet.length)) return false;
  if (!matches(rule.fragment, packet)) return false;
  if (rule.options != OptionsMatch::every && (rule.options == OptionsMatch::present) != packet.options) return false;
  if (!rule.mac.addresses.empty()) {
    const bool listed = packet.mac && std::ranges::find(rule.mac.addresses, *packet.mac, &Mac::bytes) != rule.mac.addresses.end();
    if (listed == rule.mac.negate) return false;
  }
  if (rule.interface.names.empty()) return true;
  const bool named = std::ranges::find(rule.interface.names, interface.name) != rule.interface.names.end();
  return named != rule.interface.negate;
}

bool matches(const Rule& rule, const Config& config, const Interface& interface, const Packet& packet, const World& world) {
  if (rule.proto) {
    if (*rule.proto != packet.protocol) return false;
    if (*rule.proto == 1 && packet.source.v6) return false;    // icmp is IPv4's
    if (*rule.proto == 58 && !packet.source.v6) return false;  // icmpv6 is IPv6's
  }
  if (rule.socket && !(world.socket_owns && packet.destination_port)) return false;
  return matches_headers(rule, interface, packet) && matches(rule.flags, packet.tcp_flags) && matches(rule.icmp, packet) &&
         matches(rule.from_port, packet.source_port) && matches(rule.to_port, packet.destination_port) &&
         matches(rule.from, config, packet.source) && matches(rule.to, config, packet.destination);
}

std::string verdict(Action action, Mode mode) {
  if (action == Action::accept) return "pass";
  if (mode == Mode::audit) return "audit";
  return action == Action::reject ? "tx" : "drop";
}

// RFC 4861 7.1.1 and its like: types 133 to 137, never forwarded.
bool neighbour_discovery(const Packet& p) {
  return p.source.v6 && p.icmp_type && *p.icmp_type >= 133 && *p.icmp_type <= 137 && p.hop_limit == 255;
}

// RFC 2131 4.1, RFC 8415 7.2: from the server's port to the client's.
bool dhcp_reply(const Packet& p) {
  if (p.protocol != 17 || !p.source_port) return false;
  return p.source.v6 ? *p.source_port == 547 && *p.destination_port == 546
                     : *p.source_port == 67 && *p.destination_port == 68;
}

// What a rule asks that a later fragment does not carry.
bool beyond_ip(const Rule& rule) {
  return rule.socket || rule.flags != FlagsMatch{} || !rule.icmp.kinds.empty() || !rule.from_port.ranges.empty() || !rule.to_port.ranges.empty();
}

// The reason with which a rule matches a packet that has all that it asks for; empty: it does not, since its limit says no.
std::string reason(const Policy& policy, const Rule& rule, const Packet& packet, const World& world) {
  const Limit* limited = rule.extensions.get<Limit>();
  if (!limited) return "rule";
  LimitMemory nothing;
  const Limited found = limit(*limited, policy.name + "/" + rule.name, packet, world.length, world.now, world.memory ? world.memory->limits : nothing);
  if (rule.action == Action::accept) return found == Limited::within ? "rule" : "";
  return found == Limited::within ? "" : found == Limited::over ? "rate-limited" : "banned";
}

struct Judged {
  Exit exit;
  bool by_fragment_rule = false;  // a rule that asks for later fragments
};

// Adds what is counted on the way to `exits`.
Judged walk(const Policy& policy, const Config& config, const Interface& interface, const Packet& packet, const World& world,
            std::vector<Exit>& exits) {
  for (const Rule& rule : policy.rules) {
    if (!matches(rule, config, interface, packet, world)) continue;
    const std::string why = reason(policy, rule, packet, world);
    if (why.empty()) continue;
    if (rule.audit)
      exits.push_back({"audit", why, policy.name, rule.name});
    else if (rule.action == Action::continue_)
      exits.push_back({"continue", why, policy.name, rule.name});
    else
      return {{verdict(rule.action, policy.mode), why, policy.name, rule.name},
              rule.fragment == FragmentMatch::later || rule.fragment == FragmentMatch::any};
  }
  if (policy.default_action == Action::drop) {
    if (neighbour_discovery(packet)) return {{"pass", "kept-nd", policy.name, ""}};
    if (dhcp_reply(packet)) return {{"pass", "kept-dhcp", policy.name, ""}};
  }
  return {{verdict(policy.default_action, policy.mode), "default", policy.name, ""}};
}

// What all fragments of a datagram have in common, for one policy.
std::string datagram_of(const Packet& packet, const Policy& policy) {
  std::string key = policy.name + '/';
  for (const Host* host : {&packet.source, &packet.destination}) key.append(reinterpret_cast<const char*>(host->bytes.data()), host->bytes.size());
  key += (packet.source.v6 ? "6/" : "4/") + std::to_string(packet.protocol) + '/' + std::to_string(packet.fragment_id);
  unsigned tags[2] = {};
  std::copy(packet.vlans.begin(), packet.vlans.end(), tags);
  return key + '/' + std::to_string(tags[0]) + '/' + std::to_string(tags[1]);
}

// One answer in a millisecond, a hundred at once.
bool answer_is_due(const World& world) {
  if (!world.memory) return true;
  constexpr uint64_t each = 1'000'000, most = 100 * each;
  Memory& m = *world.memory;
  m.credit = m.counted == 0 ? most : std::min(most, m.credit + (world.now - m.counted));
  m.counted = world.now;
  if (m.credit < each) return false;
  m.credit -= each;
  return true;
}

// The protocol's four messages, by the paper's section 5.4: type, three zero bytes, and how long each is.
bool wireguard_message(const Packet& packet) {
  if (packet.udp_head.size() < 4 || packet.udp_head[1] != 0 || packet.udp_head[2] != 0 || packet.udp_head[3] != 0) return false;
  const unsigned carried = packet.udp_length - 8;
  switch (packet.udp_head[0]) {
    case 1: return carried == 4 + 4 + 32 + 48 + 28 + 16 + 16;  // sender, ephemeral, static, timestamp, mac1, mac2
    case 2: return carried == 4 + 4 + 4 + 32 + 16 + 16 + 16;   // sender, receiver, ephemeral, empty, mac1, mac2
    case 3: return carried == 4 + 4 + 24 + 32;                 // receiver, nonce, cookie
    case 4: return carried >= 4 + 4 + 8 + 16;                  // receiver, counter, the tag of an empty packet
    default: return false;
  }
}

// The reason why a guarded port does not take the packet; empty: it does, or is none.
std::string guard(const Interface& interface, const Packet& packet, const World& world) {
  const auto* guard = interface.extensions.get<WireGuard>();
  if (!guard || packet.protocol != 17 || !packet.destination_port) return "";
  if (std::ranges::find(guard->ports, *packet.destination_port) == guard->ports.end()) return "";
  if (!wireguard_message(packet)) return "not-wireguard";
  if (!guard->handshakes || packet.udp_head[0] != 1) return "";
  Limit rate;
  rate.rate = *guard->handshakes;
  rate.burst = std::max<uint64_t>(guard->handshakes->amount / 10, 1);  // of a rate a second
  LimitMemory nothing;
  const Limited found = limit(rate, "wireguard/" + interface.name, packet, world.length, world.now, world.memory ? world.memory->limits : nothing);
  return found == Limited::within ? "" : "rate-limited";
}

Exit judge(const Policy& policy, const Config& config, const Interface& interface, std::span<const uint8_t> frame, const Packet& packet,
           const World& world, Outcome& outcome) {
  Judged judged = walk(policy, config, interface, packet, world, outcome.exits);
  Memory* memory = std::ranges::any_of(policy.rules, beyond_ip) ? world.memory : nullptr;
  if (memory && packet.later_fragment && !judged.by_fragment_rule) {
    const auto first = memory->firsts.find(datagram_of(packet, policy));
    if (first != memory->firsts.end() && world.now < first->second.until) judged.exit = first->second.exit;
  }
  Exit exit = judged.exit;
  const Exit unanswered{"drop", "unanswered", policy.name, exit.rule};
  if (exit.verdict == "tx") {
    if (!answerable(frame, packet, world.ethernet))
      exit = unanswered;
    else if (!answer_is_due(world))
      exit.verdict = "drop", exit.reason = "reject-limited";
    else
      outcome.answer = answer(frame, packet, world.addresses);
  }
  if (memory && packet.first_fragment)
    memory->firsts[datagram_of(packet, policy)] = {judged.exit.verdict == "tx" ? unanswered : judged.exit, world.now + 4'000'000'000};
  return exit;
}

void strip(const Config& config, const Interface& interface, std::span<const uint8_t> frame, const Packet& packet, const World& world, Outcome& out) {
  const ReceiveFrom& from = config.receive->from;
  const AddressMatch sources{from.any, false, from.prefixes, from.sets};
  auto received = receive(*config.receive, frame, packet, matches(sources, config, packet.source), world.ethernet, world.linear);
  if (!received) return;
  if (received->reason == "decap-ecn" || (received->reason == "decap-malformed" && interface.malformed == Malformed::drop)) out.verdict = "drop";
  out.exits.push_back({out.verdict, received->reason, "", ""});
  out.answer = std::move(received->frame);
}

}  // namespace

void PrintTo(const Outcome& outcome, std::ostream* out) {
  *out << outcome.verdict;
  for (const Exit& exit : outcome.exits) *out << ", " << exit.text();
  if (!outcome.answer.empty()) *out << ", " << outcome.answer.size() << " bytes of answer";
}

Outcome judge(const Config& config, const Interface& interface, std::span<const uint8_t> frame, const World& given) {
  World world = given;
  if (world.length == 0) world.length = frame.size();
  const Read read = read_frame(frame, world.ethernet);
  if (read.kind == Kind::malformed) {
    const std::string what = interface.malformed == Malformed::drop ? "drop" : "pass";
    return {what, {{what, "malformed", "", ""}}};
  }
  if (read.kind == Kind::not_ip) return {"pass", {{"pass", "not-ip", "", ""}}};

  if (const std::string reason = guard(interface, read.packet, world); !reason.empty()) return {"drop", {{"drop", reason, "", ""}}};

  Outcome out{"pass", {}};
  for (const Policy& policy : config.policies) {
    if (std::ranges::find(policy.attach, interface.name, &Attach::interface) == policy.attach.end()) continue;
    Exit exit = judge(policy, config, interface, frame, read.packet, world, out);
    out.exits.push_back(std::move(exit));
    const std::string& verdict = out.exits.back().verdict;
    if (verdict == "drop" || verdict == "tx") {
      out.verdict = verdict;
      return out;
    }
  }
  if (out.exits.empty()) out.exits.push_back({"pass", "no-policy", "", ""});
  if (config.receive && config.receive->stands_on(interface.name)) strip(config, interface, frame, read.packet, world, out);
  return out;
}

}  // namespace penstock::model
