// What this network namespace's TCP does, as its settings say, and whether it takes cookies from programs.
#pragma once
#include <cstdint>
#include <string>

namespace penstock {

struct TcpSettings {
  bool timestamps = true, sack = true, scaling = true;
  uint32_t receive_default = 131072, receive_max = 6291456;  // bytes of a socket's buffer
  std::string no_cookies;   // why no handshake that a program has begun can be completed; empty: it can
};
// A setting that cannot be read has the kernel's default.
TcpSettings tcp_settings();

// Does this kernel let programs give a socket to a packet that completes a handshake (bpf_sk_assign_tcp_reqsk, 6.9)?
bool kernel_takes_cookies();

}  // namespace penstock
