#include "core/kernel/route.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace penstock {
namespace {

int on_route(const nlmsghdr* message, void* data) {
  auto* out = static_cast<Route*>(data);
  const auto* const tail = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  for (auto* a = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(rtmsg)));
       mnl_attr_ok(a, static_cast<int>(tail - reinterpret_cast<const char*>(a))); a = mnl_attr_next(a)) {
    const auto* const bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(a));
    if (mnl_attr_get_type(a) == RTA_OIF) out->ifindex = mnl_attr_get_u32(a);
    if (mnl_attr_get_type(a) != RTA_PREFSRC) continue;
    if (mnl_attr_get_payload_len(a) == 4)
      out->source = Address::v4(static_cast<uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
    else
      out->source = Address::v6(bytes);
  }
  return MNL_CB_OK;
}

}  // namespace

Result<Route> route_to(const Address& destination) {
  std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return fail_errno("cannot open a netlink socket", errno);
  std::vector<char> buffer(16 * 1024);
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETROUTE;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request->nlmsg_seq = 1;
  auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
  const bool v4 = destination.is_v4();
  const auto wire = destination.wire();
  route->rtm_family = v4 ? AF_INET : AF_INET6;
  route->rtm_dst_len = v4 ? 32 : 128;
  mnl_attr_put(request, RTA_DST, v4 ? 4 : 16, wire.data() + (v4 ? 12 : 0));
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) return fail_errno("cannot ask for a route", errno);
  Route out;
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (got < 0) return fail_errno("cannot read a route", errno);
    const int state = mnl_cb_run(buffer.data(), static_cast<size_t>(got), 1, mnl_socket_get_portid(socket.get()), on_route, &out);
    if (state < 0) return fail_errno(fmt::format("no route to {}", destination.text()), errno);
    if (state == MNL_CB_STOP) return out;
  }
}

}  // namespace penstock
