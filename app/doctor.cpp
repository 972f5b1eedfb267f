#include "app/doctor.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/kernel/device.h"
#include "core/kernel/links.h"
#include "core/kernel/objects.h"
#include "core/kernel/tcp.h"
#include "core/kernel/xdp_features.h"
#include "core/plan/instance.h"
#include "features/policy/tables.h"

namespace penstock {
namespace {

using Checks = std::vector<Check>;

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

void check_kernel(Checks& out) {
  utsname system{};
  uname(&system);
  const auto level = kernel_level();
  if (!level) {
    out.push_back({Health::fail, "kernel", fmt::format("{}: no program can be loaded: {}", system.release, level.error().message()),
                   "run as root, on a kernel of 5.10 or later"});
    return;
  }
  if (*level == Level::may_goto) {
    out.push_back({Health::ok, "kernel", fmt::format("{}, instruction level {}", system.release, level_name(*level))});
    return;
  }
  out.push_back({Health::warn, "kernel",
                 fmt::format("{}, instruction level {}: a policy whose rules are walked one by one has at most {} entries, and programs take longer to load",
                             system.release, level_name(*level), *level == Level::atomics ? PS_RULES_MAX_atomics : PS_RULES_MAX_basic),
                 "rules in a classifier (`penstock status` names it) are not limited by this; 6.9 or later lifts it"});
}

// What limits lose where programs have no compare-and-swap.
void check_limits(Checks& out) {
  const auto level = kernel_level();
  if (!level || *level != Level::basic) return;
  out.push_back({Health::warn, "limits",
                 "this kernel gives programs no compare-and-swap: rates are kept, but on several CPUs at once each can exceed a burst by one packet, and a ban or a bucket that two of them make at the same moment can get lost, until the next packet makes it again",
                 "5.12 or later counts exactly"});
}

void check_btf(Checks& out) {
  if (std::ifstream("/sys/kernel/btf/vmlinux").good())
    out.push_back({Health::ok, "btf", "/sys/kernel/btf/vmlinux"});
  else
    out.push_back({Health::warn, "btf", "this kernel has no BTF of its own", "tools show less; use a kernel built with CONFIG_DEBUG_INFO_BTF"});
}

void check_bpffs(Checks& out) {
  struct statfs fs{};
  if (::statfs("/sys/fs/bpf", &fs) == 0 && static_cast<unsigned long>(fs.f_type) == BPF_FS_MAGIC)
    out.push_back({Health::ok, "bpffs", "/sys/fs/bpf"});
  else
    out.push_back({Health::warn, "bpffs", "/sys/fs/bpf is not mounted", "penstock mounts it at the first apply; to have it at boot: mount -t bpf bpf /sys/fs/bpf"});
}

void check_capabilities(Checks& out) {
  std::ifstream in("/proc/self/status");
  uint64_t effective = 0;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("CapEff:")) effective = std::stoull(line.substr(7), nullptr, 16);
  const auto has = [&](unsigned capability) { return (effective >> capability & 1) != 0; };
  std::string missing;
  if (!has(CAP_NET_ADMIN)) missing += " CAP_NET_ADMIN";
  if (!has(CAP_BPF) && !has(CAP_SYS_ADMIN)) missing += " CAP_BPF";
  if (!has(CAP_PERFMON) && !has(CAP_SYS_ADMIN)) missing += " CAP_PERFMON";
  if (missing.empty())
    out.push_back({Health::ok, "capabilities", "programs may be loaded and attached"});
  else
    out.push_back({Health::fail, "capabilities", "missing:" + missing, "run as root"});
}

void check_jit(Checks& out) {
  const std::string enabled = first_line("/proc/sys/net/core/bpf_jit_enable");
  if (enabled.empty() || enabled != "0")  // a kernel built with BPF_JIT_ALWAYS_ON has no choice to show
    out.push_back({Health::ok, "jit", enabled.empty() ? "not to be switched off" : "on"});
  else
    out.push_back({Health::warn, "jit", "off: programs are interpreted, several times slower", "sysctl net.core.bpf_jit_enable=1"});
}

// What `syn-proxy` needs of the kernel.
void check_syn_proxy(Checks& out) {
  const TcpSettings tcp = tcp_settings();
  if (tcp.no_cookies.empty())
    out.push_back({Health::ok, "syn-proxy", "cookies are taken at the tc ingress"});
  else
    out.push_back({Health::warn, "syn-proxy", tcp.no_cookies + "; SYNs beyond the rate would be dropped",
                   kernel_takes_cookies() ? "sysctl net.ipv4.tcp_syncookies=1" : "needed only where a file says `syn-proxy`; 6.9 or later lifts it"});
}

// Whether the program was loaded by penstock: all of ours have this name.
bool is_ours(const std::string& name) { return name.starts_with("penstock_"); }

std::string program_name(uint32_t id) {
  const auto program = program_by_id(id);
  if (!program) return {};
  const auto info = program_info(program->get());
  return info ? info->name : "";
}

// The instance whose link holds this program on the device; empty where none has it pinned.
std::string instance_of(uint32_t ifindex, uint32_t program) {
  const auto any = Instance::named("default");
  if (!any) return {};
  std::error_code error;
  const std::filesystem::path all = std::filesystem::path(any->bpf).parent_path();
  for (std::filesystem::directory_iterator it(all, error), end; !error && it != end; it.increment(error)) {
    const auto link = open_pin(it->path().string() + fmt::format("/links/xdp-{}", ifindex));
    if (!link) continue;
    const auto info = link_info(link->get());
    if (info && info->program == program) return it->path().filename();
  }
  return {};
}

void check_xdp(Checks& out, const Device& device) {
  const std::string name = device.name + " xdp";
  const auto attached = query_xdp(device.ifindex);
  if (!attached) {
    out.push_back({Health::warn, name, attached.error().message()});
  } else if (attached->program == 0) {
    out.push_back({Health::ok, name, "free"});
  } else if (is_ours(program_name(attached->program))) {
    const std::string instance = instance_of(device.ifindex, attached->program);
    out.push_back({attached->mode == XdpAttach::native ? Health::ok : Health::warn, name,
                   fmt::format("penstock's program {}, {}, {}", attached->program, attach_name(attached->mode),
                               instance.empty() ? "of no instance that runs" : "of instance " + instance),
                   attached->mode == XdpAttach::native ? "" : "generic XDP costs several times more; `xdp: native` shows why the driver refuses"});
  } else {
    out.push_back({Health::fail, name, fmt::format("taken by {}", describe_program(attached->program)),
                   fmt::format("remove it with its own tool (or `ip link set dev {} xdp off`), or leave {} out of the file", device.name, device.name)});
  }
}

void check_tc(Checks& out, const Device& device) {
  const std::string name = device.name + " tc";
  const auto programs = tc_programs(device);
  if (!programs) {
    out.push_back({Health::warn, name, programs.error().message()});
    return;
  }
  const std::string order = tc_order_text(*programs);
  if (!order.empty()) out.push_back({Health::ok, name, "behind XDP " + order});
}

// Offloads that act before XDP.
void check_offloads(Checks& out, const Device& device, const DeviceInfo& info) {
  for (const Offload& o : info.offloads) {
    if (!o.on) continue;
    const char* harm = o.tags ? "takes VLAN tags away before XDP sees them" : "merges frames before XDP sees them";
    if (o.fixed)
      out.push_back({Health::warn, device.name + " " + o.name, fmt::format("{}, and the driver does not let it be switched off", harm),
                     "turn it off where it is made: in the hypervisor or in the driver's parameters"});
    else
      out.push_back({Health::warn, device.name + " " + o.name, harm, fmt::format("apply switches it off, and on again at the end; by hand: ethtool -K {} {} off", device.name, o.name)});
  }
  if (info.driver == "veth")
    out.push_back({Health::ok, device.name + " tags", "VLAN tags that its peer's stack pushes reach XDP only if the peer has `tx-vlan-offload off`"});
}

// Which kinds of XDP the driver offers, before any attach.
void check_modes(Checks& out, const Device& device, const DeviceInfo& info) {
  const std::string name = device.name + " modes";
  const auto offers = xdp_features(device);
  if (!offers) {
    out.push_back({Health::ok, name, "this kernel does not tell before an attach (6.3 and later do)"});
  } else if (offers->native) {
    std::string text = "native";
    if (offers->fragments) text += ", frames in several pieces";
    if (offers->redirect) text += ", redirects";
    if (offers->transmit) text += ", takes redirected frames";
    if (offers->hardware) text += ", offload";
    out.push_back({Health::ok, name, text});
  } else {
    out.push_back({Health::warn, name, "generic only", info.driver == "veth" ? "generic XDP costs several times more; a veth gets native XDP with as many receive queues as its peer has for sending"
                                                                           : "generic XDP costs several times more"});
  }
}

void check_device(Checks& out, const Device& device) {
  const auto info = device_info(device);
  if (!info) {
    out.push_back({Health::fail, device.name, info.error().message()});
    return;
  }
  constexpr uint32_t page_limit = 3506, frame_limit = 9000;
  std::string finding = fmt::format("driver {}, mtu {}, {}", info->driver.empty() ? "none" : info->driver, info->mtu, info->up ? "up" : "down");
  if (info->channels) finding += fmt::format(", {} receive queue{}", *info->channels, *info->channels == 1 ? "" : "s");
  if (!device.ethernet) finding += ", no Ethernet header";
  if (info->driver.empty())
    out.push_back({Health::warn, device.name, finding, "without a driver of its own only generic XDP is possible"});
  else
    out.push_back({Health::ok, device.name, finding});
  if (info->mtu > frame_limit && device.name != "lo")
    out.push_back({Health::warn, device.name + " mtu", fmt::format("{} is more than {}", info->mtu, frame_limit), fmt::format("ip link set dev {} mtu {}", device.name, frame_limit)});
  else if (info->mtu > page_limit && device.name != "lo")
    out.push_back({Health::warn, device.name + " mtu", fmt::format("{}: a driver that cannot split frames refuses native XDP above some {}", info->mtu, page_limit),
                   fmt::format("if the attach fails: ip link set dev {} mtu {}", device.name, page_limit)});
  check_modes(out, device, *info);
  check_offloads(out, device, *info);
  check_xdp(out, device);
  check_tc(out, device);
}

}  // namespace

const char* health_name(Health health) { return health == Health::ok ? "ok" : health == Health::warn ? "warn" : "fail"; }

std::vector<Check> doctor(const std::vector<std::string>& devices) {
  Checks out;
  check_kernel(out);
  check_limits(out);
  check_btf(out);
  check_bpffs(out);
  check_capabilities(out);
  check_jit(out);
  check_syn_proxy(out);
  const std::vector<Device> present = list_devices();
  for (const std::string& name : devices)
    if (std::ranges::none_of(present, [&](const Device& d) { return d.name == name; }))
      out.push_back({Health::fail, name, "no such device", "ip link shows what there is"});
  for (const Device& device : present)
    if (devices.empty() ? device.name != "lo" : std::ranges::find(devices, device.name) != devices.end()) check_device(out, device);
  return out;
}

}  // namespace penstock
