#include "core/kernel/links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/kernel/bpf.h"

namespace penstock {

const char* attach_name(XdpAttach mode) { return mode == XdpAttach::native ? "native" : "generic"; }

std::vector<Device> list_devices() {
  std::vector<Device> out;
  if (struct if_nameindex* all = if_nameindex()) {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (auto* i = all; i->if_index != 0; ++i) {
      ifreq request{};  // not sysfs, which may show another network namespace
      std::strncpy(request.ifr_name, i->if_name, sizeof request.ifr_name - 1);
      const bool known = ::ioctl(socket.get(), SIOCGIFHWADDR, &request) == 0;
      const auto type = request.ifr_hwaddr.sa_family;
      out.push_back({i->if_index, i->if_name, !known || type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK});
    }
    if_freenameindex(all);
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.ifindex < b.ifindex; });
  return out;
}

std::string device_name(uint32_t ifindex) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(ifindex, name) ? name : "";
}

Result<Attached> query_xdp(uint32_t ifindex) {
  LIBBPF_OPTS(bpf_xdp_query_opts, opts);
  const int error = bpf_xdp_query(static_cast<int>(ifindex), 0, &opts);
  if (error < 0) return fail_errno(fmt::format("cannot query the XDP hook of device {}", ifindex), -error);
  Attached out;
  if (opts.drv_prog_id) return Attached{opts.drv_prog_id, XdpAttach::native};
  if (opts.hw_prog_id) return Attached{opts.hw_prog_id, XdpAttach::native};
  if (opts.skb_prog_id) return Attached{opts.skb_prog_id, XdpAttach::generic};
  return Attached{opts.prog_id, XdpAttach::native};
}

namespace {

constexpr uint32_t BPF_F_BEFORE_ALL = 1u << 3;  // BPF_F_BEFORE, relative to none: the first

// Where under /sys/fs/bpf a program is pinned; empty if nowhere.  Looked up only to name a stranger.
std::string pin_of_program(uint32_t id) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator it("/sys/fs/bpf", std::filesystem::directory_options::skip_permission_denied, error), end;
  for (; !error && it != end; it.increment(error)) {
    if (!it->is_regular_file(error)) continue;
    auto object = open_pin(it->path());
    if (!object) continue;
    bpf_prog_info info{};
    __u32 size = sizeof info;
    // A map or a link answers with another structure: only a program's info has this size and id.
    if (bpf_obj_get_info_by_fd(object->get(), &info, &size) == 0 && size > 100 && info.id == id && info.type == BPF_PROG_TYPE_XDP) return it->path();
  }
  return {};
}

// The kernel's extack for an attach that failed: the netlink way of attaching says it, links do not before 6.x, so
// the same attach is tried once more over netlink with "only if nothing is attached" and taken back if it succeeds.
std::string extack_of_attach(uint32_t ifindex, int program, XdpAttach mode) {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return {};
  const int on = 1;
  setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  struct {
    nlmsghdr header;
    ifinfomsg info;
    char attributes[64];
  } request{};
  request.header = {NLMSG_LENGTH(sizeof request.info), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0};
  request.info.ifi_index = static_cast<int>(ifindex);
  const uint32_t flags = XDP_FLAGS_UPDATE_IF_NOEXIST | (mode == XdpAttach::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
  auto* nest = reinterpret_cast<nlattr*>(reinterpret_cast<char*>(&request) + NLMSG_ALIGN(request.header.nlmsg_len));
  auto* attr = nest + 1;
  auto put = [&](uint16_t type, uint32_t value) {
    *attr = {static_cast<uint16_t>(NLA_HDRLEN + 4), type};
    std::memcpy(reinterpret_cast<char*>(attr) + NLA_HDRLEN, &value, 4);
    attr = reinterpret_cast<nlattr*>(reinterpret_cast<char*>(attr) + NLA_HDRLEN + 4);
  };
  put(IFLA_XDP_FD, static_cast<uint32_t>(program));
  put(IFLA_XDP_FLAGS, flags);
  nest->nla_type = IFLA_XDP | NLA_F_NESTED;
  nest->nla_len = static_cast<uint16_t>(reinterpret_cast<char*>(attr) - reinterpret_cast<char*>(nest));
  request.header.nlmsg_len = static_cast<uint32_t>(NLMSG_ALIGN(request.header.nlmsg_len) + nest->nla_len);
  if (send(socket.get(), &request, request.header.nlmsg_len, 0) < 0) return {};
  char reply[4096];
  const ssize_t size = recv(socket.get(), reply, sizeof reply, 0);
  if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) return {};
  const auto* header = reinterpret_cast<nlmsghdr*>(reply);
  const auto* error = static_cast<nlmsgerr*>(NLMSG_DATA(header));
  if (header->nlmsg_type != NLMSG_ERROR) return {};
  if (error->error == 0) {  // it worked this time: leave nothing behind
    LIBBPF_OPTS(bpf_xdp_attach_opts, ours, .old_prog_fd = program);
    bpf_xdp_detach(static_cast<int>(ifindex), (flags & ~XDP_FLAGS_UPDATE_IF_NOEXIST) | XDP_FLAGS_REPLACE, &ours);
    return {};
  }
  if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  size_t skip = NLMSG_HDRLEN + sizeof(nlmsgerr);
  if (!(header->nlmsg_flags & NLM_F_CAPPED)) skip += error->msg.nlmsg_len - NLMSG_HDRLEN;
  for (skip = NLMSG_ALIGN(skip); skip + NLA_HDRLEN <= static_cast<size_t>(size);) {
    const auto* tlv = reinterpret_cast<nlattr*>(reply + skip);
    if (tlv->nla_len < NLA_HDRLEN || skip + tlv->nla_len > static_cast<size_t>(size)) break;
    if (tlv->nla_type == NLMSGERR_ATTR_MSG) return std::string(reply + skip + NLA_HDRLEN, strnlen(reply + skip + NLA_HDRLEN, tlv->nla_len - NLA_HDRLEN));
    skip += NLA_ALIGN(tlv->nla_len);
  }
  return {};
}

std::string remedy(const std::string& device, int error, XdpAttach mode) {
  if (mode == XdpAttach::generic) return {};
  switch (error) {
    case EOPNOTSUPP: return "this driver has no native XDP: say `xdp: auto` or `xdp: generic`";
    case ERANGE: return fmt::format("the MTU is too large for XDP in this driver: `ip link set dev {} mtu 1500` (on a veth: of its peer), or say `xdp: generic`", device);
    case ENOSPC: return fmt::format("the driver needs more queues for XDP: see `ethtool -l {}` (a veth needs as many for receiving as its peer has for sending), or say `xdp: generic`", device);
    case ENOMEM:
    case EINVAL: return fmt::format("`penstock doctor {}` shows the driver's limits (MTU, queues, offloads that merge frames); or say `xdp: generic`", device);
    default: return {};
  }
}

}  // namespace

std::string describe_program(uint32_t id) {
  std::string name;
  if (auto program = program_by_id(id))
    if (auto info = program_info(program->get())) name = info->name;
  const std::string path = pin_of_program(id);
  return fmt::format("program {}{}{}", id, name.empty() ? "" : fmt::format(" `{}`", name), path.empty() ? ", not pinned" : ", pinned at " + path);
}

Diagnostic stranger(const Device& device, uint32_t program) {
  Diagnostic d{fmt::format("{} already has an XDP program that is not penstock's: {}", device.name, describe_program(program))};
  d.hint = fmt::format("remove it with its own tool (or `ip link set dev {} xdp off`), or leave {} out of the file", device.name, device.name);
  return d;
}

Result<Fd> attach_xdp(const Device& device, int program, XdpAttach mode) {
  LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode == XdpAttach::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
  const int link = bpf_link_create(program, static_cast<int>(device.ifindex), BPF_XDP, &opts);
  if (link >= 0) return Fd(link);
  const int error = errno;
  if (auto there = query_xdp(device.ifindex); there && there->program != 0) return fail(stranger(device, there->program));
  Diagnostic d{fmt::format("cannot attach to {} ({} XDP): {}", device.name, attach_name(mode), std::strerror(error))};
  if (const std::string words = extack_of_attach(device.ifindex, program, mode); !words.empty()) d.detail.push_back("the driver says: " + words);
  d.hint = remedy(device.name, error, mode);
  return fail(std::move(d));
}

Result<Fd> attach_tcx(const Device& device, int program) {
  // BPF_LINK_CREATE with the attach type BPF_TCX_INGRESS, which the headers of libbpf 1.1 do not know.
  struct {
    uint32_t program, ifindex, type, flags, relative, pad;
    uint64_t revision;
  } request{static_cast<uint32_t>(program), device.ifindex, 46, BPF_F_BEFORE_ALL, 0, 0, 0};
  const long link = syscall(__NR_bpf, BPF_LINK_CREATE, &request, sizeof request);
  if (link < 0) return fail_errno(fmt::format("cannot attach to the tc ingress of {}", device.name), errno, "this needs tcx, of kernel 6.6 or later");
  return Fd(static_cast<int>(link));
}

Result<LinkInfo> link_info(int link) {
  bpf_link_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &size) < 0) return fail_errno("cannot query a link", errno);
  return LinkInfo{info.xdp.ifindex, info.prog_id};  // of tcx it lies in the same place
}

Result<> update_link(int link, int program) {
  if (bpf_link_update(link, program, nullptr) < 0) return fail_errno("cannot replace the program of a link", errno);
  return {};
}

Result<> detach_link(int link) {
  if (bpf_link_detach(link) < 0 && errno != ENOLINK) return fail_errno("cannot detach a link", errno);
  return {};
}

}  // namespace penstock
