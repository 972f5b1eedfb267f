#include "core/kernel/device.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "core/kernel/bpf.h"

namespace penstock {
namespace {

Result<Fd> control_socket() {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket", errno);
  return fd;
}

ifreq request_for(const Device& device) {
  ifreq r{};
  std::memcpy(r.ifr_name, device.name.c_str(), std::min(device.name.size(), sizeof r.ifr_name - 1));
  return r;
}

bool ethtool(int fd, const Device& device, void* command) {
  ifreq r = request_for(device);
  r.ifr_data = static_cast<char*>(command);
  return ::ioctl(fd, SIOCETHTOOL, &r) == 0;
}

// The features of a device by name.  The kernel keeps their list as strings, whose order is its own affair.
class Features {
 public:
  Features(int fd, const Device& device) {
    struct {  // ethtool_sset_info with room for one answer
      uint32_t cmd = ETHTOOL_GSSET_INFO, reserved = 0;
      uint64_t mask = 1ull << ETH_SS_FEATURES;
      uint32_t count = 0, pad = 0;
    } sets;
    if (!ethtool(fd, device, &sets) || !sets.mask) return;
    const uint32_t count = sets.count;
    std::vector<char> strings(sizeof(ethtool_gstrings) + size_t{count} * ETH_GSTRING_LEN);
    auto* header = reinterpret_cast<ethtool_gstrings*>(strings.data());
    header->cmd = ETHTOOL_GSTRINGS;
    header->string_set = ETH_SS_FEATURES;
    header->len = count;
    if (!ethtool(fd, device, header)) return;
    std::vector<uint32_t> words(2 + size_t{(count + 31) / 32} * 4);  // ethtool_gfeatures, then blocks of four words
    words[0] = ETHTOOL_GFEATURES;
    words[1] = (count + 31) / 32;
    if (!ethtool(fd, device, words.data())) return;
    for (uint32_t i = 0; i < count; ++i) {
      const char* name = strings.data() + sizeof(ethtool_gstrings) + size_t{i} * ETH_GSTRING_LEN;
      const uint32_t* block = &words[2 + size_t{i / 32} * 4];  // available, requested, active, never changed
      names_.emplace_back(name, strnlen(name, ETH_GSTRING_LEN));
      active_.push_back(block[2] >> (i % 32) & 1);
    }
  }
  std::optional<bool> get(std::string_view name) const {
    for (size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return active_[i];
    return {};
  }

 private:
  std::vector<std::string> names_;
  std::vector<bool> active_;
};

std::string program_name(uint32_t id) {
  const auto program = program_by_id(id);
  if (!program) return {};
  const auto info = program_info(program->get());
  return info ? info->name : "";
}

// tcx programs in their order.  Kernels before 6.6 know none.
void add_tcx(const Device& device, bool ingress, std::vector<TcProgram>& out) {
  constexpr uint32_t tcx_ingress = 46, tcx_egress = 47;
  std::array<uint32_t, 64> ids{};
  struct {  // the first fields of union bpf_attr's `query`, newer than the headers
    uint32_t target, attach_type, query_flags, attach_flags;
    uint64_t ids;
    uint32_t count, pad;
    uint64_t rest[4];
  } query{};
  query.target = device.ifindex;
  query.attach_type = ingress ? tcx_ingress : tcx_egress;
  query.ids = reinterpret_cast<uint64_t>(ids.data());
  query.count = ids.size();
  if (::syscall(__NR_bpf, BPF_PROG_QUERY, &query, sizeof query) != 0) return;
  for (uint32_t i = 0; i < std::min<uint32_t>(query.count, ids.size()); ++i)
    out.push_back({.id = ids[i], .name = program_name(ids[i]), .tcx = true, .ingress = ingress});
}

struct FilterDump {
  std::vector<TcProgram>* out;
  bool ingress;
};

const nlattr* first_attribute(const nlmsghdr* message) {
  return static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(tcmsg)));
}
int left(const nlmsghdr* message, const nlattr* a) {
  return static_cast<int>(static_cast<const char*>(mnl_nlmsg_get_payload_tail(message)) - reinterpret_cast<const char*>(a));
}

int on_filter(const nlmsghdr* message, void* data) {
  const auto* dump = static_cast<FilterDump*>(data);
  const char* kind = "";
  const nlattr* options = nullptr;
  for (const nlattr* a = first_attribute(message); mnl_attr_ok(a, left(message, a)); a = mnl_attr_next(a)) {
    if (mnl_attr_get_type(a) == TCA_KIND) kind = mnl_attr_get_str(a);
    if (mnl_attr_get_type(a) == TCA_OPTIONS) options = a;
  }
  if (std::strcmp(kind, "bpf") != 0 || !options) return MNL_CB_OK;
  TcProgram program;
  program.ingress = dump->ingress;
  constexpr uint16_t tca_bpf_name = 7, tca_bpf_id = 11;
  bool described = false;
  const auto* const inside = static_cast<const char*>(mnl_attr_get_payload(options));
  const auto* const end = inside + mnl_attr_get_payload_len(options);
  for (auto* a = reinterpret_cast<const nlattr*>(inside); mnl_attr_ok(a, static_cast<int>(end - reinterpret_cast<const char*>(a))); a = mnl_attr_next(a)) {
    const uint16_t type = mnl_attr_get_type(a);
    if (type == tca_bpf_name) program.name = mnl_attr_get_str(a);
    if (type == tca_bpf_id) program.id = mnl_attr_get_u32(a);
    described = described || type == tca_bpf_name || type == tca_bpf_id;
  }
  if (described) dump->out->push_back(std::move(program));  // the head of a chain of filters describes nothing
  return MNL_CB_OK;
}

Result<> add_filters(const Device& device, bool ingress, std::vector<TcProgram>& out) {
  std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return fail_errno("cannot open a netlink socket", errno);
  std::vector<char> buffer(32 * 1024);
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = RTM_GETTFILTER;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request->nlmsg_seq = 1;
  auto* tc = static_cast<tcmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(tcmsg)));
  tc->tcm_family = AF_UNSPEC;
  tc->tcm_ifindex = static_cast<int>(device.ifindex);
  tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) return fail_errno("cannot ask for tc filters", errno);
  FilterDump dump{&out, ingress};
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (got < 0) return fail_errno("cannot read tc filters", errno);
    const int state = mnl_cb_run(buffer.data(), static_cast<size_t>(got), 1, mnl_socket_get_portid(socket.get()), on_filter,
                                  &dump);
    if (state == MNL_CB_STOP) return {};
    if (state < 0) return errno == EINVAL || errno == ENOENT ? Result<>() : Result<>(fail_errno("cannot read tc filters", errno));  // no such hook
  }
}

}  // namespace

Result<DeviceInfo> device_info(const Device& device) {
  TRY_ASSIGN(const Fd fd, control_socket());
  DeviceInfo info;
  ifreq r = request_for(device);
  if (::ioctl(fd.get(), SIOCGIFMTU, &r) != 0) return fail_errno(fmt::format("cannot ask {} for its MTU", device.name), errno);
  info.mtu = static_cast<uint32_t>(r.ifr_mtu);
  r = request_for(device);
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &r) == 0) info.up = r.ifr_flags & IFF_UP;
  r = request_for(device);
  if (::ioctl(fd.get(), SIOCGIFHWADDR, &r) == 0)
    info.ethernet = r.ifr_hwaddr.sa_family == ARPHRD_ETHER || r.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(fd.get(), device, &driver)) info.driver.assign(driver.driver, strnlen(driver.driver, sizeof driver.driver));
  const Features features(fd.get(), device);
  info.lro = features.get("rx-lro");
  info.gro_hw = features.get("rx-gro-hw");
  info.vlan_strip = features.get("rx-vlan-hw-parse");
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(fd.get(), device, &channels)) info.channels = channels.rx_count + channels.combined_count;
  return info;
}

Result<std::vector<TcProgram>> tc_programs(const Device& device) {
  std::vector<TcProgram> out;
  for (const bool ingress : {true, false}) {
    add_tcx(device, ingress, out);
    TRY(add_filters(device, ingress, out));
  }
  return out;
}

}  // namespace penstock
