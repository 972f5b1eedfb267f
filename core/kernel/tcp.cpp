#include "core/kernel/tcp.h"

#include <bpf/btf.h>

#include <algorithm>
#include <fstream>

namespace penstock {
namespace {

// The first number of a setting.
uint32_t setting(const char* name, uint32_t fallback) {
  std::ifstream in(std::string("/proc/sys/net/") + name);
  uint32_t value = 0;
  return in >> value ? value : fallback;
}

}  // namespace

bool kernel_takes_cookies() {
  static const bool known = [] {
    btf* types = btf__load_vmlinux_btf();
    const bool found = types && btf__find_by_name_kind(types, "bpf_sk_assign_tcp_reqsk", BTF_KIND_FUNC) > 0;
    btf__free(types);
    return found;
  }();
  return known;
}

TcpSettings tcp_settings() {
  TcpSettings out;
  out.timestamps = setting("ipv4/tcp_timestamps", 1) != 0;
  out.sack = setting("ipv4/tcp_sack", 1) != 0;
  out.scaling = setting("ipv4/tcp_window_scaling", 1) != 0;
  std::ifstream buffers("/proc/sys/net/ipv4/tcp_rmem");
  uint32_t least = 0, usual = 0, most = 0;
  if (buffers >> least >> usual >> most) {
    out.receive_default = usual;
    out.receive_max = most;
  }
  out.receive_max = std::max(out.receive_max, setting("core/rmem_max", 0));
  if (!kernel_takes_cookies())
    out.no_cookies = "this kernel takes no cookies from programs (6.9 and later do)";
  else if (setting("ipv4/tcp_syncookies", 0) == 0)
    out.no_cookies = "net.ipv4.tcp_syncookies is 0, so the kernel takes no cookies";
  return out;
}

}  // namespace penstock
