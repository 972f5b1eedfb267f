#include "core/kernel/rtnetlink.h"

#include <linux/rtnetlink.h>

#include <cerrno>
#include <memory>

namespace penstock {
namespace {

int forward(const nlmsghdr* message, void* data) {
  (*static_cast<OnMessage*>(data))(message);
  return MNL_CB_OK;
}

}  // namespace

std::optional<Address> address_in(const nlattr* attribute) {
  const auto* const bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
  if (mnl_attr_get_payload_len(attribute) == 4) return Address::v4(static_cast<uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
  if (mnl_attr_get_payload_len(attribute) == 16) return Address::v6(bytes);
  return {};
}

void put_address(nlmsghdr* message, uint16_t type, const Address& address) {
  const auto wire = address.wire();
  const bool v4 = address.is_v4();
  mnl_attr_put(message, type, v4 ? 4 : 16, wire.data() + (v4 ? 12 : 0));
}

int ask_kernel(nlmsghdr* request, OnMessage on) {
  std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno;
  request->nlmsg_seq = 1;
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) return errno;
  std::vector<char> buffer(32 * 1024);
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (got < 0) return errno;
    const int state = mnl_cb_run(buffer.data(), static_cast<size_t>(got), 1, mnl_socket_get_portid(socket.get()), forward, &on);
    if (state < 0) return errno;
    if (state == MNL_CB_STOP) return 0;
  }
}

}  // namespace penstock
