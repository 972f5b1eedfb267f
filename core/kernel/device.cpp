#include "core/kernel/device.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
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
      const auto bit = [&](int word) { return (block[word] >> (i % 32) & 1) != 0; };
      names_.emplace_back(name, strnlen(name, ETH_GSTRING_LEN));
      states_.push_back({bit(2), !bit(0) || bit(3)});
    }
  }
  struct State {
    bool on, fixed;
  };
  std::optional<State> get(std::string_view name) const {
    for (size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return states_[i];
    return {};
  }
  // The request that switches one feature and leaves the others: ethtool_sfeatures, then blocks {valid, requested}.
  std::vector<uint32_t> request(std::string_view name, bool on) const {
    const auto at = static_cast<size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
    if (at == names_.size()) return {};
    const size_t blocks = (names_.size() + 31) / 32;
    std::vector<uint32_t> words(2 + blocks * 2);
    words[0] = ETHTOOL_SFEATURES;
    words[1] = static_cast<uint32_t>(blocks);
    words[2 + at / 32 * 2] = 1u << (at % 32);
    words[2 + at / 32 * 2 + 1] = on ? 1u << (at % 32) : 0;
    return words;
  }

 private:
  std::vector<std::string> names_;
  std::vector<State> states_;
};

// What ethtool and its users say, and what the kernel says.
constexpr struct {
  const char *name, *feature;
  bool tags;
} harmful[] = {
    {"lro", "rx-lro", false},
    {"rx-gro-hw", "rx-gro-hw", false},
    {"rx-vlan-offload", "rx-vlan-hw-parse", true},
    {"rx-vlan-stag-hw-parse", "rx-vlan-stag-hw-parse", true},
};

// A veth carries the tags that its peer's stack pushed beside the frame as long as the peer has tx-vlan-offload; its own
// features for receiving change nothing.
bool strips_tags(const std::string& driver) {
  const char* test = std::getenv("PENSTOCK_TAGS_STRIPPED_BY");
  return driver != "veth" || (test && driver == test);
}

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
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(fd.get(), device, &driver)) info.driver.assign(driver.driver, strnlen(driver.driver, sizeof driver.driver));
  const Features features(fd.get(), device);
  for (const auto& h : harmful) {
    if (h.tags && !strips_tags(info.driver)) continue;
    if (const auto state = features.get(h.feature)) info.offloads.push_back({h.name, state->on, state->fixed, h.tags});
  }
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(fd.get(), device, &channels)) info.channels = channels.rx_count + channels.combined_count;
  return info;
}

Result<> set_offload(const Device& device, const std::string& name, bool on) {
  TRY_ASSIGN(const Fd fd, control_socket());
  const auto known = std::find_if(std::begin(harmful), std::end(harmful), [&](const auto& h) { return h.name == name; });
  if (known == std::end(harmful)) return fail(fmt::format("no such offload: {}", name));
  std::vector<uint32_t> words = Features(fd.get(), device).request(known->feature, on);
  const std::string what = fmt::format("cannot switch {} of {} {}", name, device.name, on ? "on" : "off");
  if (words.empty()) return fail(what + ": the device does not know it");
  if (!ethtool(fd.get(), device, words.data())) return fail_errno(what, errno);
  const auto now = Features(fd.get(), device).get(known->feature);
  if (!now || now->on != on) return fail(what + ": the driver left it as it was");
  return {};
}

std::string tc_order_text(const std::vector<TcProgram>& programs) {
  std::string text;
  for (const TcProgram& p : programs)
    text += fmt::format("{}{} {}: {} `{}`", text.empty() ? "" : ", then ", p.tcx ? "tcx" : "filter", p.ingress ? "ingress" : "egress", p.id, p.name);
  return text;
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
