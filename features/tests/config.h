// tests: packets and what must happen to them, run on the real bytecode before anything is attached.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.h"

namespace penstock {

struct Test {
  Location at;                    // of the entry
  std::string packet;             // "tcp 192.0.2.7:4000 > 198.51.100.9:22 syn"
  Location packet_at;
  std::string on;                 // interface, by the file's name
  uint32_t times = 1;             // sent so often; expect is of the last
  std::chrono::milliseconds every{0};  // between one and the next
  std::string expect;             // pass | drop | redirect | tx | aborted
  std::optional<std::string> reason;
  std::optional<std::string> rule;  // "policy/rule" or "rule"
};

}  // namespace penstock
