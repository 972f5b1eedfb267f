#include "app/risks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "core/base/fd.h"
#include "core/kernel/route.h"
#include "core/net/packet_text.h"

namespace penstock {
namespace {

constexpr ptrdiff_t ethernet_header = 14;

std::string endpoint(const Address& a, uint16_t port) { return a.is_v4() ? fmt::format("{}:{}", a.text(), port) : fmt::format("[{}]:{}", a.text(), port); }

bool is_link_local(const Address& a) { return a.hi >> 54 == 0xfe80 >> 6; }
bool is_loopback(const Address& a) { return a.is_v4() ? a.lo >> 24 == 0xffff7f : a == Address{0, 1}; }

std::vector<Address> resolvers() {
  std::vector<Address> out;
  // Where systemd-resolved stands in between, the second file names those that it asks.
  for (const char* path : {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      std::istringstream words(line);
      std::string key, value;
      words >> key >> value;
      const auto address = key == "nameserver" ? Address::parse(value.substr(0, value.find('%'))) : std::nullopt;
      if (address && std::ranges::find(out, *address) == out.end()) out.push_back(*address);
    }
  }
  return out;
}

// A UDP socket of ours that an answer would come to, bound to `own` and any free port.
struct Asker {
  Fd fd;
  uint16_t port = 0;
};
Result<Asker> listen_on(const Address& own) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  const auto wire = own.wire();
  storage.ss_family = own.is_v4() ? AF_INET : AF_INET6;
  if (own.is_v4()) {
    std::memcpy(&reinterpret_cast<sockaddr_in*>(&storage)->sin_addr, wire.data() + 12, 4);
  } else {
    std::memcpy(&reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr, wire.data(), 16);
    size = sizeof(sockaddr_in6);
  }
  Asker asker;
  asker.fd = Fd(::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!asker.fd || ::bind(asker.fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 ||
      ::getsockname(asker.fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return fail_errno(fmt::format("cannot bind a socket to {}", own.text()), errno);
  asker.port = ntohs(own.is_v4() ? reinterpret_cast<sockaddr_in*>(&storage)->sin_port : reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
  return asker;
}

// Does a rule let UDP answers of `port` in?  Then the file knows its servers better than we could guess them.
bool names_answers(const Config& config, uint16_t port) {
  for (const Policy& policy : config.policies)
    for (const Rule& rule : policy.rules) {
      if (rule.action != Action::accept || rule.proto != IPPROTO_UDP || rule.from_port.any()) continue;
      const bool within = std::ranges::any_of(rule.from_port.ranges, [&](const PortRange& r) { return r.first <= port && port <= r.last; });
      if (within != rule.from_port.negate) return true;
    }
  return false;
}

class Finder {
 public:
  Finder(const Host& host, const std::vector<Attachment>& attachments, ReplayTarget& target) : host_(host), attachments_(attachments), target_(target) {
    risks.warnings = host.warnings;
  }

  Risks risks;

  // Is what arrives on device `upper` judged by `way`?
  bool carries(const Attachment& way, uint32_t upper) const {
    const auto lower = host_.carriers.find(upper);
    return upper == way.device.ifindex || (lower != host_.carriers.end() && lower->second.contains(way.device.ifindex));
  }

  // The attachments that judge what comes from `peer`; none where it is reached by other devices.  A link-local address
  // may be behind any device, and so may one whose way is not known: all are meant.
  std::vector<const Attachment*> ways_of(const Address& peer, const std::string& what, Address* own = nullptr) {
    std::optional<Route> route;
    bool anywhere = is_link_local(peer);
    if (!anywhere) {
      auto found = route_to(peer);
      if (!found) unjudged(what, found.error());
      if (found) route = *found;
      anywhere = !route;
    }
    if (own && route) *own = route->source;
    std::vector<const Attachment*> out;
    for (const Attachment& a : attachments_)
      if (anywhere || carries(a, route->ifindex)) out.push_back(&a);
    return out;
  }

  // What `packet` would be lost by; nothing where it comes through.
  Result<std::optional<Risk>> judge_packet(const char* risk, const Attachment& way, const std::string& packet, const std::string& what) {
    TRY_ASSIGN(auto frame, packet_from_text(packet));
    if (!way.device.ethernet) frame.erase(frame.begin(), frame.begin() + ethernet_header);  // the hook is a raw one
    TRY_ASSIGN(const Judged judged, target_.run(way.hook, frame, false, 0));
    // A reset is an answer, too, and what goes to a backend does not come to this host; a SYN cookie lets the connection come about.
    const bool cookie = judged.verdict == PS_TX && judged.decided && judged.decided->reason == PS_REASON_SYN_COOKIE;
    const bool sent_on = judged.decided && judged.decided->reason == PS_REASON_BALANCED_UP && judged.bytes != frame;
    if ((judged.verdict == PS_PASS && !sent_on) || cookie) return std::optional<Risk>();
    Risk found{risk, fmt::format("{} on {}", what, way.device.name), verdict_name(judged.verdict), {}};
    if (const Slot* slot = judged.decided) {
      found.by = !slot->service.empty() ? fmt::format("service {}", slot->service)
                 : slot->policy.empty() ? reason_name(slot->reason)
                 : slot->rule.empty() ? fmt::format("the default of policy {}", slot->policy)
                                      : fmt::format("rule {}/{}", slot->policy, slot->rule);
      found.at = slot->at;
    }
    return std::optional(std::move(found));
  }

  void add(Risk found) {
    // One line is enough for what is lost in the same way (the ACK and the SYN of one connection).
    const bool known = std::ranges::any_of(risks.found, [&](const Risk& r) { return r.name == found.name && r.lost == found.lost; });
    if (!known) risks.found.push_back(std::move(found));
  }

  Result<> try_packet(const char* risk, const Attachment& way, const std::string& packet, const std::string& what) {
    TRY_ASSIGN(auto found, judge_packet(risk, way, packet, what));
    if (found) add(std::move(*found));
    return {};
  }

  // Packets from guessed senders: only where none comes through would the real one's be lost too.
  Result<> try_guesses(const char* risk, const Attachment& way, const std::vector<std::string>& packets, const std::string& what) {
    std::optional<Risk> first;
    for (const std::string& packet : packets) {
      TRY_ASSIGN(auto found, judge_packet(risk, way, packet, what));
      if (!found) return {};
      if (!first) first = std::move(found);
    }
    if (first) add(std::move(*first));
    return {};
  }

  Result<> ssh(const Config& config) {
    std::set<uint16_t> ports;
    for (const TcpSocket& s : host_.sockets)
      if (s.listening && host_.sshd.contains(s.inode)) ports.insert(s.local_port);
    if (ports.empty()) ports.insert(22);  // sshd may be started for each connection
    for (const TcpSocket& s : host_.sockets) {
      if (s.listening || !host_.sshd.contains(s.inode) || is_loopback(s.remote)) continue;
      const std::string what = fmt::format("the SSH connection of {}", endpoint(s.remote, s.remote_port));
      const std::string path = fmt::format("tcp {} > {}", endpoint(s.remote, s.remote_port), endpoint(s.local, s.local_port));
      // A new connection comes from another port, so no socket knows it.
      const uint16_t other = s.remote_port == 65535 ? 65534 : static_cast<uint16_t>(s.remote_port + 1);
      for (const Attachment* way : ways_of(s.remote, what)) {
        TRY(try_packet("lose-ssh", *way, path + " ack", what));
        TRY(try_packet("lose-ssh", *way, fmt::format("tcp {} > {} syn", endpoint(s.remote, other), endpoint(s.local, s.local_port)),
                       fmt::format("new SSH connections of {}", s.remote.text())));
      }
    }
    for (const Address& peer : config.management) {
      const std::string name = fmt::format("new SSH connections of the management address {}", peer.text());
      Address own;
      const auto ways = ways_of(peer, name, &own);
      for (const Attachment* way : ways) {
        const auto to = own == Address{} ? own_address(*way, peer.is_v4()) : own;
        if (!to) {
          unjudged(fmt::format("{} on {}", name, way->device.name), Error("there is neither a route to it nor an address of its family"));
          continue;
        }
        for (const uint16_t port : ports)
          TRY(try_packet("lose-ssh", *way, fmt::format("tcp {} > {} syn", endpoint(peer, 40000), endpoint(*to, port)), fmt::format("{} to port {}", name, port)));
      }
    }
    return {};
  }

  // Who speaks to this device: its router where one is known, else the address that most routers have.
  Result<> discovery(const Attachment& way) {
    const Address own = own_address(way, false, true).value_or(*Address::parse("fe80::2"));
    const Address group = {0xff02'0000'0000'0000ull, 0x0000'0001'ff00'0000ull | (own.lo & 0xff'ffff)};
    for (const std::string& router : names_of(routers_of(way, false), "fe80::1")) {
      TRY(try_packet("lose-nd", way, fmt::format("icmpv6 {} > {} neighbor-solicitation", router, group.text()), "neighbour solicitations (IPv6 does not work without)"));
      TRY(try_packet("lose-nd", way, fmt::format("icmpv6 {} > {} neighbor-advertisement", router, own.text()), "neighbour advertisements (IPv6 does not work without)"));
    }
    // RFC 4861, 4.2: a router announces itself from a link-local address only.
    std::vector<Address> announcers = routers_of(way, false);
    std::erase_if(announcers, [](const Address& a) { return !is_link_local(a); });
    for (const std::string& router : names_of(announcers, "fe80::1"))
      TRY(try_packet("lose-nd", way, fmt::format("icmpv6 {} > ff02::1 router-advertisement", router), "router advertisements (IPv6 addresses and the default route)"));
    return {};
  }

  // The DHCP server is on the network or behind its router, which relays from its own address.  Where an address is
  // leased, the router's words are as good as the server's; else any that a server may have are.
  Result<> dhcp(const Attachment& way) {
    Address own = *Address::parse("192.0.2.2"), network = *Address::parse("192.0.2.0");
    uint64_t last = 255;  // of the network, counted from its first
    bool leased = false, known = false;
    for (const OwnAddress& a : host_.addresses) {
      if (!a.address.is_v4() || !carries(way, a.ifindex)) continue;
      leased |= a.leased;
      if (known) continue;
      known = true;
      own = a.address;
      network = {0, own.lo & Prefix::mask(a.length).lo};
      last = ~Prefix::mask(a.length).lo;
    }
    std::vector<Address> servers = routers_of(way, true);
    if (servers.empty() || !leased) {
      for (const uint64_t host : {uint64_t{1}, last / 2, last - 1})
        if (const Address a{0, network.lo + host}; host > 0 && host < last && a != own) servers.push_back(a);
    }
    constexpr size_t least = 240;  // the fixed part of a DHCP message
    const std::string what = "DHCP replies (the IPv4 address)";
    for (const std::string& to : {std::string("255.255.255.255"), own.text()}) {
      std::vector<std::string> packets;
      for (const Address& server : servers) packets.push_back(fmt::format("udp {}:67 > {}:68 length {}", server.text(), to, least));
      if (leased && !packets.empty()) TRY(try_packet("lose-dhcp", way, packets.front(), what));
      TRY(try_guesses("lose-dhcp", way, packets, what));
    }
    std::vector<Address> relays = routers_of(way, false);
    std::erase_if(relays, [](const Address& a) { return !is_link_local(a); });
    const Address own6 = own_address(way, false, true).value_or(*Address::parse("fe80::2"));
    for (const std::string& server : names_of(relays, "fe80::1"))
      TRY(try_packet("lose-dhcp", way, fmt::format("udp [{}]:547 > [{}]:546 length 4", server, own6.text()), "DHCPv6 replies (the IPv6 address)"));
    return {};
  }

  Result<> replies(const Config& config) {
    bool known_resolver = false;
    for (const Address& server : resolvers()) {
      if (is_loopback(server)) continue;  // a resolver of this host, which asks others
      const std::string what = fmt::format("answers of the resolver {}", server.text());
      Address own;
      const auto ways = ways_of(server, what, &own);
      if (own == Address{}) continue;  // there is no way to ask this one
      for (const Attachment* way : ways) {
        known_resolver = true;
        TRY(answer(*way, {server}, 53, own, what));
      }
    }
    constexpr uint16_t dns = 53, ntp = 123;
    for (const Attachment& way : attachments_)
      for (const bool v4 : {true, false}) {
        const auto own = own_address(way, v4);
        if (!own) continue;
        if (!known_resolver && !names_answers(config, dns)) TRY(answer(way, guessed(v4), dns, *own, fmt::format("answers of resolvers ({})", v4 ? "IPv4" : "IPv6")));
        if (!names_answers(config, ntp)) TRY(answer(way, guessed(v4), ntp, *own, fmt::format("answers of time servers ({})", v4 ? "IPv4" : "IPv6")));
      }
    return connections();
  }

  void unjudged(const std::string& what, const Error& why) {
    Diagnostic d = penstock::unjudged(what, why);
    if (std::ranges::none_of(risks.warnings, [&](const Diagnostic& w) { return w.message == d.message; })) risks.warnings.push_back(std::move(d));
  }

 private:
  // An own address that packets on this device come to.
  std::optional<Address> own_address(const Attachment& way, bool v4, bool link_local = false) const {
    for (const OwnAddress& a : host_.addresses)
      if (a.address.is_v4() == v4 && is_link_local(a.address) == link_local && carries(way, a.ifindex)) return a.address;
    return {};
  }

  std::vector<Address> routers_of(const Attachment& way, bool v4) const {
    std::vector<Address> out;
    for (const Router& r : host_.routers)
      if (r.address.is_v4() == v4 && carries(way, r.ifindex) && std::ranges::find(out, r.address) == out.end()) out.push_back(r.address);
    return out;
  }

  static std::vector<std::string> names_of(const std::vector<Address>& known, const std::string& guess) {
    std::vector<std::string> out;
    for (const Address& a : known) out.push_back(a.text());
    if (out.empty()) out.push_back(guess);
    return out;
  }

  // Servers may be anywhere: addresses far apart, so that a list of bad networks does not hold them all.
  static std::vector<Address> guessed(bool v4) {
    std::vector<Address> out;
    for (const char* text : {"192.0.2.53", "9.0.0.53", "77.0.0.53", "163.0.0.53", "212.0.0.53"})
      if (v4) out.push_back(*Address::parse(text));
    for (const char* text : {"2001:db8::53", "2001:500::53", "2400:8000::53", "2600:8000::53", "2a00:8000::53"})
      if (!v4) out.push_back(*Address::parse(text));
    return out;
  }

  // Answers of any of `servers`, to a socket bound for this.
  Result<> answer(const Attachment& way, const std::vector<Address>& servers, uint16_t port, const Address& own, const std::string& what) {
    const auto asker = listen_on(own);
    if (!asker) {
      unjudged(what, asker.error());
      return {};
    }
    std::vector<std::string> packets;
    for (const Address& server : servers) packets.push_back(fmt::format("udp {} > {} length 48", endpoint(server, port), endpoint(own, asker->port)));
    return try_guesses("lose-replies", way, packets, what);
  }

  Result<> connections() {
    std::set<uint16_t> served;
    for (const TcpSocket& s : host_.sockets)
      if (s.listening) served.insert(s.local_port);
    size_t judged = 0, left = 0;
    for (const TcpSocket& s : host_.sockets) {
      // Not ours to have opened, or of no device.
      if (s.listening || host_.sshd.contains(s.inode) || served.contains(s.local_port) || is_loopback(s.remote)) continue;
      if (judged == most_connections) {
        ++left;
        continue;
      }
      const std::string what = fmt::format("this host's connection to {}", endpoint(s.remote, s.remote_port));
      const auto ways = ways_of(s.remote, what);
      if (ways.empty()) continue;
      ++judged;
      const std::string path = fmt::format("tcp {} > {}", endpoint(s.remote, s.remote_port), endpoint(s.local, s.local_port));
      for (const Attachment* way : ways) {
        TRY(try_packet("lose-replies", *way, path + " ack", what));
        TRY(try_packet("lose-replies", *way, path + " syn ack", what));
      }
    }
    if (left) unjudged(fmt::format("{} of this host's outgoing connections", left), Error(fmt::format("the first {} were judged", most_connections)));
    return {};
  }

  const Host& host_;
  const std::vector<Attachment>& attachments_;
  ReplayTarget& target_;
};

}  // namespace

Result<Risks> find_risks(const Config& config, const Host& host, const std::vector<Attachment>& attachments, ReplayTarget& target) {
  if (attachments.empty()) return Risks{};
  Finder finder(host, attachments, target);
  TRY(finder.ssh(config));
  for (const Attachment& way : attachments) {
    TRY(finder.discovery(way));
    TRY(finder.dhcp(way));
  }
  TRY(finder.replies(config));
  return std::move(finder.risks);
}

Result<Risks> find_risks(const Config& config, const Host& host, const Image& image, const std::vector<Attachment>& attachments, std::map<std::string, int> shared) {
  if (attachments.empty()) return Risks{};
  TRY_ASSIGN(Replay target, Replay::open(image, {.world = World::live, .shared = std::move(shared)}));
  return find_risks(config, host, attachments, target);
}

}  // namespace penstock
