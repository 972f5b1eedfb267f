// What a rule's limit says of a packet, told from the reference: buckets of credit and bans by name.  Without any end of room.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "features/limits/config.h"
#include "tests/model/packet.h"

namespace penstock::model {

struct LimitMemory {
  struct Bucket {
    long double credit = 0;           // packets or bytes
    uint64_t counted = 0;             // ns, when
  };
  struct Banned {
    uint64_t until = 0;               // ns
    unsigned times = 0;
  };
  std::map<std::string, Bucket> buckets;
  std::map<std::string, Banned> bans;
};

enum class Limited { within, over, banned };

// `rule`: its name among all; `length`: of the frame, bytes.
Limited limit(const Limit& limit, const std::string& rule, const Packet& packet, size_t length, uint64_t now, LimitMemory& memory);

}  // namespace penstock::model
