// What runs now, read from the kernel and its pins; never from a cache.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "bpf/gate.h"
#include "core/kernel/links.h"
#include "core/plan/instance.h"

namespace penstock {

// Pinned as `state`: one entry, mapped by user space.  Programs never look at it.
struct NodeState {
  uint64_t layout = 1;
  uint64_t generation = 0;   // the confirmed one; 0: none
  uint64_t network = 0;      // inode of the network namespace that this instance belongs to
  uint64_t reserved = 0;
};

// A change that waits, or was cut off while it was made.
struct Transaction {
  uint64_t from = 0, to = 0;
  uint64_t deadline = 0;     // as in struct ps_txn, coarse ns
  uint64_t start = 0;
  uint64_t window = 0;
  bool confirmed() const { return deadline == PS_GATE_FOREVER; }
  bool waiting(uint64_t now) const { return deadline != 0 && !confirmed() && !(deadline & PS_GATE_CLOSED) && now < deadline; }
  bool active(uint64_t now) const { return start <= now && (confirmed() || waiting(now)); }
};

struct RunningLink {
  uint32_t ifindex = 0;      // that it was made for
  LinkInfo info;             // info.ifindex 0: the device is gone
  std::string device;        // its name now
  XdpAttach mode = XdpAttach::native;
};

// A program at the tc ingress, behind XDP.
struct TcLink {
  uint32_t ifindex = 0;      // that it was made for
  LinkInfo info;             // info.ifindex 0: the device is gone
};

struct Running {
  bool present = false;      // anything of this instance exists
  NodeState state;
  std::optional<Transaction> transaction;
  std::vector<RunningLink> links;
  std::vector<TcLink> tc_links;
  std::vector<uint64_t> generations;  // that have pins
  // The generation that judges packets at this moment.
  uint64_t active(uint64_t now) const {
    return transaction && transaction->active(now) ? transaction->to : transaction ? transaction->from : state.generation;
  }
};

Result<Running> observe(const Instance& instance);
uint64_t own_network();                  // inode of the network namespace of this process

}  // namespace penstock
