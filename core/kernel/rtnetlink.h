// How the kernel's rtnetlink is asked: requests, and the attributes of its answers.
#pragma once
#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/net/address.h"

namespace penstock {

using OnAttribute = std::function<void(const nlattr*)>;

// The attributes behind a message's header of type Header.
template <class Header>
void each_attribute(const nlmsghdr* message, const OnAttribute& on) {
  const auto* const tail = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  for (auto* a = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(Header)));
       mnl_attr_ok(a, static_cast<int>(tail - reinterpret_cast<const char*>(a))); a = mnl_attr_next(a))
    on(a);
}

std::optional<Address> address_in(const nlattr* attribute);
void put_address(nlmsghdr* message, uint16_t type, const Address& address);  // of four or sixteen bytes

using OnMessage = std::function<void(const nlmsghdr*)>;
// Sends `request` and hands every answer to `on`.  The error number is the kernel's, 0: all was read.
int ask_kernel(nlmsghdr* request, OnMessage on);

// A request in `buffer`, which it makes large enough for a few attributes.
template <class Header>
Header* start_request(std::vector<char>& buffer, uint16_t type, uint16_t flags) {
  buffer.resize(1024);
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  return static_cast<Header*>(mnl_nlmsg_put_extra_header(request, sizeof(Header)));
}
inline nlmsghdr* message_in(std::vector<char>& buffer) { return reinterpret_cast<nlmsghdr*>(buffer.data()); }

}  // namespace penstock
