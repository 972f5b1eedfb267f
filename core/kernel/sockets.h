// TCP sockets of this network namespace, and who owns them; from /proc.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/net/address.h"

namespace penstock {

struct TcpSocket {
  Address local, remote;
  uint16_t local_port = 0, remote_port = 0;
  bool listening = false;   // else established
  uint64_t inode = 0;
};
std::vector<TcpSocket> tcp_sockets();  // those that listen or are established

// Inodes of the sockets that processes hold whose executable has one of these file names ("sshd"), whoever started them.
std::set<uint64_t> sockets_of(const std::set<std::string>& executables);

}  // namespace penstock
