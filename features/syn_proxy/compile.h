// The SYN proxy of one interface -> constants of its programs.  Pure.
#pragma once
#include <string>

#include "core/kernel/tcp.h"
#include "core/plan/image.h"
#include "features/syn_proxy/config.h"
#include "features/syn_proxy/tables.h"

namespace penstock {

std::string syn_proxy_text(const SynProxy& proxy);  // all that the file says of it: "80, 443 over 10000/s"

// Adds to the hook of an interface what its SYN proxy needs: constants and, where the kernel takes cookies, the program at the
// tc ingress.  `mtu`: the least of the interface's devices, bytes.
void compile_syn_proxy(const SynProxy& proxy, const TcpSettings& tcp, uint32_t mtu, SlotTable& slots, HookImage& hook);

// Map sizes (Image::sizes): none of them is made where no interface has a SYN proxy.
std::map<std::string, uint32_t> syn_proxy_sizes(bool used);

}  // namespace penstock
