// What a candidate would take away from whoever applies it, found by running packets through its programs.
#pragma once
#include <string>
#include <vector>

#include "app/host.h"
#include "app/replay.h"
#include "core/plan/attachments.h"

namespace penstock {

struct Risk {
  std::string name;   // "lose-ssh", "lose-nd", "lose-dhcp", "lose-replies"
  std::string lost;   // "the SSH connection of 203.0.113.9:50022 on eth0"
  std::string by;     // "rule edge/bad", "the default of policy edge"
  Location at;        // of the rule or default
};

struct Risks {
  std::vector<Risk> found;
  std::vector<Diagnostic> warnings;   // what could not be judged, and why: no risk found there means nothing
};

// Runs on `target` (opened with World::live) what the devices of `attachments` receive now or will:
//   lose-ssh      the next packet (ACK) and a new SYN of every connection that sshd owns, and a SYN of config.management
//   lose-nd       neighbour solicitation and advertisement, router advertisement
//   lose-dhcp     a DHCPv4 offer, broadcast and unicast; a DHCPv6 reply; from the router where an IPv4 address is leased, else
//                 only where no server could get through
//   lose-replies  answers of the resolvers and of a time server to sockets bound for this; segments of up to
//                 most_connections own outgoing TCP connections
// Where no resolver is known, guessed ones answer, and a risk is one that loses the answers of all.  Peers that are reached by other devices are no concern.  An error
// means that a packet could not be run.
inline constexpr size_t most_connections = 1024;
Result<Risks> find_risks(const Config& config, const Host& host, const std::vector<Attachment>& attachments, ReplayTarget& target);

// The same for an image: loads its programs first, over the state in `shared` (by map name).
Result<Risks> find_risks(const Config& config, const Host& host, const Image& image, const std::vector<Attachment>& attachments, std::map<std::string, int> shared = {});

}  // namespace penstock
