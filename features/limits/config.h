// `limit` of a rule: how much is too much, counted by whom, and for how long an offender is banned.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "core/net/rate.h"

namespace penstock {

enum class LimitPer { source, destination, source_destination, flow, rule };

struct Ban {
  std::chrono::milliseconds time{0};     // the first
  uint32_t factor = 1;                   // by which it grows each time
  std::chrono::milliseconds max{0};      // at most
  bool operator==(const Ban&) const = default;
};

// In Rule::extensions where the rule has one.
struct Limit {
  Location at;                           // of the value
  Rate rate;
  uint64_t burst = 0;                    // packets or bytes, as the rate says; never 0 once decoded
  LimitPer per = LimitPer::source;
  uint8_t length4 = 32, length6 = 64;    // of the prefixes that count as one address
  std::optional<Ban> ban;
  uint32_t entries = 65'536;             // keys that are active at the same time, bans at the same time; 1 per rule
  bool operator==(const Limit& other) const {
    return rate == other.rate && burst == other.burst && per == other.per && length4 == other.length4 && length6 == other.length6 && ban == other.ban && entries == other.entries;
  }
};

// The burst where the file names none: 100 ms of the rate, at least one packet, or 10,000 bytes; of packets in a minute, an hour
// or a day all of them.
uint64_t default_burst(const Rate& rate);

std::string limit_text(const Limit& limit);  // tells any two apart
std::string per_text(const Limit& limit);    // as in the file: "source/24"

}  // namespace penstock
