// TCP sockets of this network namespace, and who owns them; from /proc.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"

namespace penstock {

struct TcpSocket {
  Address local, remote;
  uint16_t local_port = 0, remote_port = 0;
  bool listening = false;   // else established
  uint64_t inode = 0;
};
// Those that listen or are established.  An error where /proc cannot be read.
Result<std::vector<TcpSocket>> tcp_sockets();

struct HeldSockets {
  std::set<uint64_t> inodes;
  size_t unreadable = 0;    // processes of such a name that we may not look into
};
// Sockets of the processes whose executable has one of these file names ("sshd"), whoever started them.
Result<HeldSockets> sockets_of(const std::set<std::string>& executables);

}  // namespace penstock
