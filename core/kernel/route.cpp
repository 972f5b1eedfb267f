#include "core/kernel/route.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>

namespace penstock {
namespace {

using OnAttribute = std::function<void(const nlattr*)>;

template <class Header>
void each_attribute(const nlmsghdr* message, const OnAttribute& on) {
  const auto* const tail = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  for (auto* a = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(Header)));
       mnl_attr_ok(a, static_cast<int>(tail - reinterpret_cast<const char*>(a))); a = mnl_attr_next(a))
    on(a);
}

std::optional<Address> address_in(const nlattr* a) {
  const auto* const bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(a));
  if (mnl_attr_get_payload_len(a) == 4) return Address::v4(static_cast<uint32_t>(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
  if (mnl_attr_get_payload_len(a) == 16) return Address::v6(bytes);
  return {};
}

using OnMessage = std::function<void(const nlmsghdr*)>;
int forward(const nlmsghdr* message, void* data) {
  (*static_cast<OnMessage*>(data))(message);
  return MNL_CB_OK;
}

// Sends `request` and hands every answer to `on`.  The error number is the kernel's, 0: all was read.
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

template <class Header>
Header* start_request(std::vector<char>& buffer, uint16_t type, uint16_t flags) {
  buffer.resize(1024);
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  return static_cast<Header*>(mnl_nlmsg_put_extra_header(request, sizeof(Header)));
}

nlmsghdr* message_in(std::vector<char>& buffer) { return reinterpret_cast<nlmsghdr*>(buffer.data()); }

}  // namespace

Result<std::optional<Route>> route_to(const Address& destination) {
  std::vector<char> buffer;
  auto* header = start_request<rtmsg>(buffer, RTM_GETROUTE, NLM_F_ACK);
  const bool v4 = destination.is_v4();
  const auto wire = destination.wire();
  header->rtm_family = v4 ? AF_INET : AF_INET6;
  header->rtm_dst_len = v4 ? 32 : 128;
  mnl_attr_put(message_in(buffer), RTA_DST, v4 ? 4 : 16, wire.data() + (v4 ? 12 : 0));
  Route out;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    each_attribute<rtmsg>(message, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == RTA_OIF) out.ifindex = mnl_attr_get_u32(a);
      if (mnl_attr_get_type(a) == RTA_PREFSRC) out.source = address_in(a).value_or(Address{});
    });
  });
  // No route, a blackhole, a prohibited one: answers to what was asked.
  if (error == ENETUNREACH || error == EHOSTUNREACH || error == EINVAL || error == EACCES) return std::optional<Route>();
  if (error) return fail_errno(fmt::format("cannot ask for the route to {}", destination.text()), error);
  return out.ifindex ? std::optional(out) : std::nullopt;
}

Result<std::vector<Router>> routers() {
  std::vector<Router> out;
  for (const int family : {AF_INET, AF_INET6}) {
    std::vector<char> buffer;
    start_request<rtmsg>(buffer, RTM_GETROUTE, NLM_F_DUMP)->rtm_family = static_cast<unsigned char>(family);
    const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
      Router router;
      std::optional<Address> gateway;
      each_attribute<rtmsg>(message, [&](const nlattr* a) {
        if (mnl_attr_get_type(a) == RTA_OIF) router.ifindex = mnl_attr_get_u32(a);
        if (mnl_attr_get_type(a) == RTA_GATEWAY) gateway = address_in(a);
      });
      if (!gateway || router.ifindex == 0) return;
      router.address = *gateway;
      out.push_back(router);
    });
    if (error && error != EOPNOTSUPP && error != EAFNOSUPPORT) return fail_errno("cannot read the routes", error);
  }
  return out;
}

Result<std::vector<OwnAddress>> own_addresses() {
  std::vector<OwnAddress> out;
  std::vector<char> buffer;
  start_request<ifaddrmsg>(buffer, RTM_GETADDR, NLM_F_DUMP)->ifa_family = AF_UNSPEC;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    const auto* header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    std::optional<Address> address, local;  // of a point-to-point link the first is the peer's
    uint32_t flags = header->ifa_flags;
    each_attribute<ifaddrmsg>(message, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == IFA_ADDRESS) address = address_in(a);
      if (mnl_attr_get_type(a) == IFA_LOCAL) local = address_in(a);
      if (mnl_attr_get_type(a) == IFA_FLAGS) flags = mnl_attr_get_u32(a);
    });
    if (local) address = local;
    if (address) out.push_back({header->ifa_index, *address, header->ifa_prefixlen + (address->is_v4() ? 96u : 0u), !(flags & IFA_F_PERMANENT)});
  });
  if (error) return fail_errno("cannot list this host's addresses", error);
  return out;
}

Result<Carriers> device_carriers() {
  std::map<uint32_t, std::set<uint32_t>> below;  // one step
  std::vector<char> buffer;
  start_request<ifinfomsg>(buffer, RTM_GETLINK, NLM_F_DUMP)->ifi_family = AF_UNSPEC;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    const auto index = static_cast<uint32_t>(static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message))->ifi_index);
    uint32_t master = 0, link = 0;
    bool peer = false;  // of a veth, or in another namespace: `link` is then nothing below
    each_attribute<ifinfomsg>(message, [&](const nlattr* a) {
      switch (mnl_attr_get_type(a)) {
        case IFLA_MASTER: master = mnl_attr_get_u32(a); break;
        case IFLA_LINK: link = mnl_attr_get_u32(a); break;
        case IFLA_LINK_NETNSID: peer = true; break;
        case IFLA_LINKINFO: {
          const auto* inner = static_cast<const nlattr*>(mnl_attr_get_payload(a));
          const auto* const end = reinterpret_cast<const char*>(inner) + mnl_attr_get_payload_len(a);
          for (; mnl_attr_ok(inner, static_cast<int>(end - reinterpret_cast<const char*>(inner))); inner = mnl_attr_next(inner))
            if (mnl_attr_get_type(inner) == IFLA_INFO_KIND && std::string_view(mnl_attr_get_str(inner)) == "veth") peer = true;
          break;
        }
        default: break;
      }
    });
    below[index];
    if (master) below[master].insert(index);
    if (link && link != index && !peer) below[index].insert(link);
  });
  if (error) return fail_errno("cannot list the devices", error);
  Carriers out;
  for (const auto& [device, unused] : below) {
    std::set<uint32_t>& all = out[device];
    std::vector<uint32_t> open{device};
    while (!open.empty()) {
      const uint32_t next = open.back();
      open.pop_back();
      if (!all.insert(next).second) continue;
      for (const uint32_t lower : below[next]) open.push_back(lower);
    }
  }
  return out;
}

}  // namespace penstock
