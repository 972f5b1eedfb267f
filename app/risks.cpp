#include "app/risks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
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
#include "core/kernel/sockets.h"
#include "core/net/packet_text.h"

namespace penstock {
namespace {

constexpr size_t most_connections = 1024;
constexpr ptrdiff_t ethernet_header = 14;

std::string endpoint(const Address& a, uint16_t port) { return a.is_v4() ? fmt::format("{}:{}", a.text(), port) : fmt::format("[{}]:{}", a.text(), port); }

struct OwnAddress {
  std::string device;
  Address address;
  unsigned length = 128;  // of the 128 bits
};

bool is_link_local(const Address& a) { return a.hi >> 54 == 0xfe80 >> 6; }

std::optional<Address> address_of(const sockaddr* a) {
  if (!a) return {};
  if (a->sa_family == AF_INET) return Address::v4(ntohl(reinterpret_cast<const sockaddr_in*>(a)->sin_addr.s_addr));
  if (a->sa_family == AF_INET6) return Address::v6(reinterpret_cast<const sockaddr_in6*>(a)->sin6_addr.s6_addr);
  return {};
}

std::vector<OwnAddress> own_addresses() {
  std::vector<OwnAddress> out;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const ifaddrs* i = list; i; i = i->ifa_next) {
    const auto address = address_of(i->ifa_addr);
    if (!address) continue;
    unsigned length = 128;
    if (address->is_v4() && i->ifa_netmask)
      length = 96 + static_cast<unsigned>(__builtin_popcount(reinterpret_cast<const sockaddr_in*>(i->ifa_netmask)->sin_addr.s_addr));
    out.push_back({i->ifa_name, *address, length});
  }
  freeifaddrs(list);
  return out;
}

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

// A UDP socket that waits for an answer of `server`; where it is bound.
struct Asker {
  Fd fd;
  Address local;
  uint16_t port = 0;
};
std::optional<Asker> ask(const Address& server, uint16_t port) {
  Asker asker;
  asker.fd = Fd(::socket(server.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  const auto wire = server.wire();
  if (server.is_v4()) {
    auto* to = reinterpret_cast<sockaddr_in*>(&storage);
    to->sin_family = AF_INET;
    to->sin_port = htons(port);
    std::memcpy(&to->sin_addr, wire.data() + 12, 4);
  } else {
    auto* to = reinterpret_cast<sockaddr_in6*>(&storage);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(port);
    std::memcpy(&to->sin6_addr, wire.data(), 16);
    size = sizeof(sockaddr_in6);
  }
  // Connecting a UDP socket sends nothing; it chooses the address and port that an answer comes to.
  if (!asker.fd || ::connect(asker.fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return {};
  size = sizeof storage;
  if (::getsockname(asker.fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  asker.local = *address_of(reinterpret_cast<sockaddr*>(&storage));
  asker.port = ntohs(storage.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&storage)->sin_port : reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
  return asker;
}

class Finder {
 public:
  Finder(const std::vector<Attachment>& attachments, ReplayTarget& target) : attachments_(attachments), target_(target) {}

  std::vector<Risk> risks;

  // The attachments that judge what comes from `peer`; none where it is reached by other devices.  A link-local address
  // may be behind any device: all are meant.
  std::vector<const Attachment*> ways_of(const Address& peer, Address* own = nullptr) const {
    const bool anywhere = is_link_local(peer);
    const auto route = anywhere ? Result<Route>(Route{}) : route_to(peer);
    if (!route) return {};
    if (own) *own = route->source;
    std::vector<const Attachment*> out;
    for (const Attachment& a : attachments_)
      if (anywhere || a.device.ifindex == route->ifindex) out.push_back(&a);
    return out;
  }

  Result<> try_packet(const char* risk, const Attachment& way, const std::string& packet, const std::string& what) {
    TRY_ASSIGN(auto frame, packet_from_text(packet));
    if (!way.device.ethernet) frame.erase(frame.begin(), frame.begin() + ethernet_header);  // the hook is a raw one
    TRY_ASSIGN(const Judged judged, target_.run(way.hook, frame, false, 0));
    if (judged.verdict == PS_PASS || judged.verdict == PS_TX || judged.verdict == PS_REDIRECT) return {};
    Risk found{risk, fmt::format("{} on {}", what, way.device.name), verdict_name(judged.verdict), {}};
    if (const Slot* slot = judged.decided) {
      found.by = slot->policy.empty() ? reason_name(slot->reason)
                 : slot->rule.empty() ? fmt::format("the default of policy {}", slot->policy)
                                      : fmt::format("rule {}/{}", slot->policy, slot->rule);
      found.at = slot->at;
    }
    // One line is enough for what is lost in the same way (the ACK and the SYN of one connection).
    const bool known = std::ranges::any_of(risks, [&](const Risk& r) { return r.name == found.name && r.lost == found.lost; });
    if (!known) risks.push_back(std::move(found));
    return {};
  }

  Result<> ssh(const Config& config, const std::vector<TcpSocket>& sockets, const std::set<uint64_t>& sshd) {
    std::set<uint16_t> ports;
    for (const TcpSocket& s : sockets)
      if (s.listening && sshd.contains(s.inode)) ports.insert(s.local_port);
    if (ports.empty()) ports.insert(22);  // sshd may be started for each connection
    for (const TcpSocket& s : sockets) {
      if (s.listening || !sshd.contains(s.inode)) continue;
      const std::string what = fmt::format("the SSH connection of {}", endpoint(s.remote, s.remote_port));
      const std::string path = fmt::format("tcp {} > {}", endpoint(s.remote, s.remote_port), endpoint(s.local, s.local_port));
      // A new connection comes from another port, so no socket knows it.
      const uint16_t other = s.remote_port == 65535 ? 65534 : static_cast<uint16_t>(s.remote_port + 1);
      for (const Attachment* way : ways_of(s.remote)) {
        TRY(try_packet("lose-ssh", *way, path + " ack", what));
        TRY(try_packet("lose-ssh", *way, fmt::format("tcp {} > {} syn", endpoint(s.remote, other), endpoint(s.local, s.local_port)),
                       fmt::format("new SSH connections of {}", s.remote.text())));
      }
    }
    for (const Address& peer : config.management) {
      Address own;
      for (const Attachment* way : ways_of(peer, &own))
        for (const uint16_t port : own == Address{} ? std::set<uint16_t>{} : ports)
          TRY(try_packet("lose-ssh", *way, fmt::format("tcp {} > {} syn", endpoint(peer, 40000), endpoint(own, port)),
                       fmt::format("new SSH connections of the management address {} to port {}", peer.text(), port)));
    }
    return {};
  }

  Result<> discovery(const Attachment& way, const std::vector<OwnAddress>& addresses) {
    Address own = *Address::parse("fe80::2");
    for (const OwnAddress& a : addresses)
      if (a.device == way.device.name && is_link_local(a.address)) own = a.address;
    const Address group = {0xff02'0000'0000'0000ull, 0x0000'0001'ff00'0000ull | (own.lo & 0xff'ffff)};
    TRY(try_packet("lose-nd", way, fmt::format("icmpv6 fe80::1 > {} neighbor-solicitation", group.text()), "neighbour solicitations (IPv6 does not work without)"));
    TRY(try_packet("lose-nd", way, fmt::format("icmpv6 fe80::1 > {} neighbor-advertisement", own.text()), "neighbour advertisements (IPv6 does not work without)"));
    return try_packet("lose-nd", way, "icmpv6 fe80::1 > ff02::1 router-advertisement", "router advertisements (IPv6 addresses and the default route)");
  }

  Result<> dhcp(const Attachment& way, const std::vector<OwnAddress>& addresses) {
    Address own = *Address::parse("192.0.2.2"), server = *Address::parse("192.0.2.1"), own6 = *Address::parse("fe80::2");
    for (const OwnAddress& a : addresses) {
      if (a.device != way.device.name) continue;
      if (a.address.is_v4()) {
        own = a.address;
        server = {0, (own.lo & Prefix::mask(a.length).lo) | 1};  // a neighbour: the first address of the network
      } else if (is_link_local(a.address)) {
        own6 = a.address;
      }
    }
    constexpr size_t least = 240;  // the fixed part of a DHCP message
    TRY(try_packet("lose-dhcp", way, fmt::format("udp {}:67 > 255.255.255.255:68 length {}", server.text(), least), "DHCP replies (the IPv4 address)"));
    TRY(try_packet("lose-dhcp", way, fmt::format("udp {}:67 > {}:68 length {}", server.text(), own.text(), least), "DHCP replies (the IPv4 address)"));
    return try_packet("lose-dhcp", way, fmt::format("udp [fe80::1]:547 > [{}]:546 length 4", own6.text()), "DHCPv6 replies (the IPv6 address)");
  }

  Result<> replies(const std::vector<TcpSocket>& sockets, const std::set<uint64_t>& sshd) {
    for (const Address& server : resolvers()) {
      const auto ways = ways_of(server);
      const auto asker = ways.empty() ? std::nullopt : ask(server, 53);
      if (!asker) continue;
      for (const Attachment* way : ways)
        TRY(try_packet("lose-replies", *way, fmt::format("udp {} > {} length 12", endpoint(server, 53), endpoint(asker->local, asker->port)),
                       fmt::format("answers of the resolver {}", server.text())));
    }
    std::set<uint16_t> served;
    for (const TcpSocket& s : sockets)
      if (s.listening) served.insert(s.local_port);
    size_t count = 0;
    for (const TcpSocket& s : sockets) {
      if (s.listening || sshd.contains(s.inode) || served.contains(s.local_port)) continue;  // not ours to have opened
      const auto ways = ways_of(s.remote);
      if (ways.empty()) continue;
      if (++count > most_connections) break;
      const std::string path = fmt::format("tcp {} > {}", endpoint(s.remote, s.remote_port), endpoint(s.local, s.local_port));
      const std::string what = fmt::format("this host's connection to {}", endpoint(s.remote, s.remote_port));
      for (const Attachment* way : ways) {
        TRY(try_packet("lose-replies", *way, path + " ack", what));
        TRY(try_packet("lose-replies", *way, path + " syn ack", what));
      }
    }
    return {};
  }

 private:
  const std::vector<Attachment>& attachments_;
  ReplayTarget& target_;
};

}  // namespace

Result<std::vector<Risk>> find_risks(const Config& config, const std::vector<Attachment>& attachments, ReplayTarget& target) {
  if (attachments.empty()) return std::vector<Risk>{};
  Finder finder(attachments, target);
  const std::vector<TcpSocket> sockets = tcp_sockets();
  const std::set<uint64_t> sshd = sockets_of({"sshd", "sshd-session", "sshd-auth"});
  TRY(finder.ssh(config, sockets, sshd));
  const std::vector<OwnAddress> addresses = own_addresses();
  for (const Attachment& way : attachments) {
    TRY(finder.discovery(way, addresses));
    TRY(finder.dhcp(way, addresses));
  }
  TRY(finder.replies(sockets, sshd));
  return std::move(finder.risks);
}

Result<std::vector<Risk>> find_risks(const Config& config, const Image& image, const std::vector<Attachment>& attachments) {
  if (attachments.empty()) return std::vector<Risk>{};
  TRY_ASSIGN(Replay target, Replay::open(image, World::live));
  return find_risks(config, attachments, target);
}

}  // namespace penstock
