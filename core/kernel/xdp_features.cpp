#include "core/kernel/xdp_features.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>

namespace penstock {
namespace {

// linux/netdev.h, newer than the headers that we build with.
constexpr uint8_t netdev_cmd_dev_get = 1;
constexpr uint16_t netdev_a_dev_ifindex = 1, netdev_a_dev_xdp_features = 3;
enum : uint64_t { xdp_basic = 1, xdp_redirect = 2, xdp_ndo_xmit = 4, xdp_hw_offload = 16, xdp_rx_sg = 32 };

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

nlmsghdr* begin(char* buffer, uint16_t family, uint8_t command) {
  nlmsghdr* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = family;
  message->nlmsg_flags = NLM_F_REQUEST;
  message->nlmsg_seq = 1;
  auto* header = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(message, sizeof(genlmsghdr)));
  header->cmd = command;
  header->version = 1;
  return message;
}

// One attribute of `type` and `size` bytes in the answer to `request`; false where the kernel answers with an error.
bool ask(const Socket& socket, const nlmsghdr* request, uint16_t type, void* value, size_t size) {
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) return false;
  std::array<char, 8192> answer;
  const ssize_t got = mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
  if (got <= 0) return false;
  struct Wanted {
    uint16_t type;
    void* value;
    size_t size;
    bool found = false;
  } wanted{type, value, size};
  const auto on_message = [](const nlmsghdr* message, void* data) {
    return mnl_attr_parse(message, sizeof(genlmsghdr), [](const nlattr* a, void* inner) {
      auto* w = static_cast<Wanted*>(inner);
      if (mnl_attr_get_type(a) == w->type && mnl_attr_get_payload_len(a) >= w->size) {
        std::memcpy(w->value, mnl_attr_get_payload(a), w->size);
        w->found = true;
      }
      return MNL_CB_OK;
    }, data);
  };
  return mnl_cb_run(answer.data(), static_cast<size_t>(got), 1, mnl_socket_get_portid(socket.get()), on_message, &wanted) >= 0 && wanted.found;
}

}  // namespace

std::optional<XdpFeatures> xdp_features(const Device& device) {
  const Socket socket(mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return {};
  std::array<char, 512> buffer;
  nlmsghdr* request = begin(buffer.data(), GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
  mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, "netdev");
  uint16_t family = 0;
  if (!ask(socket, request, CTRL_ATTR_FAMILY_ID, &family, sizeof family)) return {};
  request = begin(buffer.data(), family, netdev_cmd_dev_get);
  mnl_attr_put_u32(request, netdev_a_dev_ifindex, device.ifindex);
  uint64_t bits = 0;
  if (!ask(socket, request, netdev_a_dev_xdp_features, &bits, sizeof bits)) return {};
  return XdpFeatures{.native = (bits & xdp_basic) != 0, .redirect = (bits & xdp_redirect) != 0, .transmit = (bits & xdp_ndo_xmit) != 0,
                     .fragments = (bits & xdp_rx_sg) != 0, .hardware = (bits & xdp_hw_offload) != 0};
}

}  // namespace penstock
