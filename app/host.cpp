#include "app/host.h"

#include <fmt/format.h>

#include <utility>

namespace penstock {

Diagnostic unjudged(const std::string& what, const Error& why) {
  Diagnostic d{fmt::format("could not judge {}: {}", what, why.message())};
  d.hint = "the risks named may not be all";
  return d;
}

Host look_at_host() {
  Host host;
  const auto read = [&]<class T>(const char* what, Result<T> got, T& out) {
    if (got) out = std::move(*got);
    else host.warnings.push_back(unjudged(what, got.error()));
  };
  read("the connections of this host", tcp_sockets(), host.sockets);
  HeldSockets held;
  read("who owns the connections of this host", sockets_of({"sshd", "sshd-session", "sshd-auth"}), held);
  if (held.unreadable)
    host.warnings.push_back(unjudged("every SSH connection", Error(fmt::format("{} process{} of sshd may not be looked into", held.unreadable, held.unreadable == 1 ? "" : "es"))));
  host.sshd = std::move(held.inodes);
  read("answers to this host's own addresses", own_addresses(), host.addresses);
  read("what routers send", routers(), host.routers);
  read("what arrives through bridges, bonds and VLANs", device_carriers(), host.carriers);
  return host;
}

}  // namespace penstock
