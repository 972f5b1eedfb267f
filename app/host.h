// What this host tells of itself: who it is connected to, its addresses, and what arrives by which device.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/kernel/route.h"
#include "core/kernel/sockets.h"

namespace penstock {

struct Host {
  std::vector<TcpSocket> sockets;
  std::set<uint64_t> sshd;               // inodes of the sockets that sshd's processes hold
  std::vector<OwnAddress> addresses;
  std::vector<Router> routers;
  Carriers carriers;
  std::vector<Diagnostic> warnings;      // what it does not tell, and why
};

// Takes some milliseconds where the kernel's table of connections is large, however few there are.
Host look_at_host();

// The warning that something could not be judged.
Diagnostic unjudged(const std::string& what, const Error& why);

}  // namespace penstock
