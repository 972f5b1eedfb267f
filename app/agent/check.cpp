#include "app/agent/check.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace penstock {

std::string endpoint_text(const Target& target) {
  const std::string address = target.address.is_v4() ? target.address.text() : "[" + target.address.text() + "]";
  return target.port ? fmt::format("{}:{}", address, target.port) : target.address.text();
}

Result<Fd> connected_socket(const Target& target, int type) {
  Fd fd(socket(target.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot make a socket", errno);
  if (target.mark && setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &target.mark, sizeof target.mark) < 0) return fail_errno("cannot mark the socket", errno);
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } to{};
  socklen_t size = sizeof to.v4;
  const auto wire = target.address.wire();
  if (target.address.is_v4()) {
    to.v4.sin_family = AF_INET;
    to.v4.sin_port = htons(target.port);
    std::memcpy(&to.v4.sin_addr, wire.data() + 12, 4);
  } else {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(target.port);
    std::memcpy(&to.v6.sin6_addr, wire.data(), 16);
    size = sizeof to.v6;
  }
  if (connect(fd.get(), &to.any, size) < 0 && errno != EINPROGRESS) return fail_errno(fmt::format("cannot connect to {}", endpoint_text(target)), errno);
  return fd;
}

std::unique_ptr<Check> start_check(CheckContext& context, const Health& health, const Target& target, CheckEnd end) {
  if (std::holds_alternative<TcpCheck>(health.check)) return start_tcp(context, target, std::move(end));
  if (const auto* http = std::get_if<HttpCheck>(&health.check)) return start_http(context, *http, target, std::move(end));
  if (const auto* udp = std::get_if<UdpCheck>(&health.check)) return start_udp(context, *udp, target, std::move(end));
  return start_exec(context, std::get<ExecCheck>(health.check), target, std::move(end));
}

}  // namespace penstock
