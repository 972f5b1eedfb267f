#include "core/kernel/vlans.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string_view>

#include "core/kernel/rtnetlink.h"

namespace penstock {
namespace {

void each_nested(const nlattr* outer, const OnAttribute& on) {
  const auto* inner = static_cast<const nlattr*>(mnl_attr_get_payload(outer));
  const auto* const end = reinterpret_cast<const char*>(inner) + mnl_attr_get_payload_len(outer);
  for (; mnl_attr_ok(inner, static_cast<int>(end - reinterpret_cast<const char*>(inner))); inner = mnl_attr_next(inner)) on(inner);
}

}  // namespace

Result<std::vector<VlanDevice>> vlan_devices() {
  std::vector<VlanDevice> out;
  std::vector<char> buffer;
  start_request<ifinfomsg>(buffer, RTM_GETLINK, NLM_F_DUMP)->ifi_family = AF_UNSPEC;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    VlanDevice device;
    device.ifindex = static_cast<uint32_t>(static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message))->ifi_index);
    bool vlan = false, elsewhere = false;
    each_attribute<ifinfomsg>(message, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == IFLA_LINK) device.parent = mnl_attr_get_u32(a);
      if (mnl_attr_get_type(a) == IFLA_LINK_NETNSID) elsewhere = true;
      if (mnl_attr_get_type(a) != IFLA_LINKINFO) return;
      each_nested(a, [&](const nlattr* info) {
        if (mnl_attr_get_type(info) == IFLA_INFO_KIND) vlan = std::string_view(mnl_attr_get_str(info)) == "vlan";
        if (mnl_attr_get_type(info) != IFLA_INFO_DATA || !vlan) return;  // the kind comes first
        each_nested(info, [&](const nlattr* data) {
          if (mnl_attr_get_type(data) == IFLA_VLAN_ID) device.id = mnl_attr_get_u16(data);
          if (mnl_attr_get_type(data) == IFLA_VLAN_PROTOCOL) device.protocol = ntohs(mnl_attr_get_u16(data));
        });
      });
    });
    if (elsewhere) device.parent = 0;
    if (vlan) out.push_back(device);
  });
  if (error) return fail_errno("cannot list the VLAN devices", error);
  return out;
}

}  // namespace penstock
