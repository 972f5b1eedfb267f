#include "core/kernel/neighbor.h"

#include <fmt/format.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "core/kernel/rtnetlink.h"

namespace penstock {
namespace {

// Since 5.16; headers may be older than the kernel.
constexpr uint16_t attribute_flags = 15;      // NDA_FLAGS_EXT
constexpr uint32_t flag_managed = 1;          // NTF_EXT_MANAGED

ndmsg* start(std::vector<char>& buffer, uint16_t type, uint16_t flags, uint32_t ifindex, const Address& address) {
  auto* const header = start_request<ndmsg>(buffer, type, flags);
  header->ndm_family = address.is_v4() ? AF_INET : AF_INET6;
  header->ndm_ifindex = static_cast<int>(ifindex);
  put_address(message_in(buffer), NDA_DST, address);
  return header;
}

}  // namespace

Result<bool> neighbor_managed(uint32_t ifindex, const Address& address) {
  std::vector<char> buffer;
  start(buffer, RTM_GETNEIGH, NLM_F_ACK, ifindex, address);
  bool managed = false;
  const int error = ask_kernel(message_in(buffer), [&](const nlmsghdr* message) {
    each_attribute<ndmsg>(message, [&](const nlattr* a) {
      if (mnl_attr_get_type(a) == attribute_flags) managed = mnl_attr_get_u32(a) & flag_managed;
    });
  });
  if (error == ENOENT) return false;
  if (error) return fail_errno(fmt::format("cannot ask for the neighbour {}", address.text()), error);
  return managed;
}

Result<> manage_neighbor(uint32_t ifindex, const Address& address) {
  std::vector<char> buffer;
  ndmsg* const header = start(buffer, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, ifindex, address);
  header->ndm_state = NUD_NONE;
  mnl_attr_put_u32(message_in(buffer), attribute_flags, flag_managed);
  const int error = ask_kernel(message_in(buffer), [](const nlmsghdr*) {});
  if (error) return fail_errno(fmt::format("cannot have the neighbour {} kept resolved", address.text()), error);
  return {};
}

Result<> release_neighbor(uint32_t ifindex, const Address& address) {
  std::vector<char> buffer;
  start(buffer, RTM_DELNEIGH, NLM_F_ACK, ifindex, address);
  const int error = ask_kernel(message_in(buffer), [](const nlmsghdr*) {});
  if (error && error != ENOENT && error != ENODEV) return fail_errno(fmt::format("cannot release the neighbour {}", address.text()), error);
  return {};
}

}  // namespace penstock
