#include "core/kernel/route.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>

#include "core/kernel/rtnetlink.h"

namespace penstock {
Result<std::optional<Route>> route_to(const Address& destination) {
  std::vector<char> buffer;
  auto* header = start_request<rtmsg>(buffer, RTM_GETROUTE, NLM_F_ACK);
  const bool v4 = destination.is_v4();
  header->rtm_family = v4 ? AF_INET : AF_INET6;
  header->rtm_dst_len = v4 ? 32 : 128;
  put_address(message_in(buffer), RTA_DST, destination);
  Route out;
  out.next_hop = destination;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    each_attribute<rtmsg>(message, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == RTA_OIF) out.ifindex = mnl_attr_get_u32(a);
      if (mnl_attr_get_type(a) == RTA_PREFSRC) out.source = address_in(a).value_or(Address{});
      if (mnl_attr_get_type(a) == RTA_GATEWAY) out.next_hop = address_in(a).value_or(destination);
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
