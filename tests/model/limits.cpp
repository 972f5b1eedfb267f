#include "tests/model/limits.h"

#include <algorithm>

namespace penstock::model {
namespace {

// The first bits of an address, as text.
std::string prefix(const Host& host, const Limit& limit) {
  const unsigned length = host.v6 ? limit.length6 : limit.length4;
  std::string out = host.v6 ? "6:" : "4:";
  for (unsigned bit = 0; bit < length; ++bit) out += host.bytes[bit / 8] >> (7 - bit % 8) & 1 ? '1' : '0';
  return out;
}

std::string key(const Limit& limit, const std::string& rule, const Packet& packet) {
  const std::string source = prefix(packet.source, limit), destination = prefix(packet.destination, limit);
  switch (limit.per) {
    case LimitPer::source: return rule + " from " + source;
    case LimitPer::destination: return rule + " to " + destination;
    case LimitPer::source_destination: return rule + " from " + source + " to " + destination;
    case LimitPer::flow:
      return rule + " from " + source + " to " + destination + " by " + std::to_string(packet.protocol) + "/" +
             std::to_string(packet.source_port.value_or(0)) + "/" + std::to_string(packet.destination_port.value_or(0));
    case LimitPer::rule: break;
  }
  return rule;
}

}  // namespace

Limited limit(const Limit& limit, const std::string& rule, const Packet& packet, size_t length, uint64_t now, LimitMemory& memory) {
  const std::string name = key(limit, rule, packet);
  if (limit.ban)
    if (const auto ban = memory.bans.find(name); ban != memory.bans.end() && now < ban->second.until) return Limited::banned;
  const bool bytes = limit.rate.counted == Counted::bytes;
  const long double per_ns = static_cast<long double>(limit.rate.amount) / (bytes ? 8 : 1) / limit.rate.seconds / 1e9L;
  const auto burst = static_cast<long double>(limit.burst);
  const auto [at, fresh] = memory.buckets.try_emplace(name, LimitMemory::Bucket{burst, now});
  LimitMemory::Bucket& bucket = at->second;
  bucket.credit = std::min(burst, bucket.credit + static_cast<long double>(now - bucket.counted) * per_ns);
  bucket.counted = now;
  const long double cost = bytes ? static_cast<long double>(length) : 1;
  const long double digits = per_ns / 2;  // clocks count in ns: less than one is nobody's promise
  if (bucket.credit >= cost - digits || bucket.credit > burst - cost + digits) {
    bucket.credit -= cost;
    return Limited::within;
  }
  if (limit.ban) {
    LimitMemory::Banned& ban = memory.bans[name];
    const auto ns = [](std::chrono::milliseconds t) { return static_cast<uint64_t>(t.count()) * 1'000'000; };
    if (ban.until + ns(limit.ban->max) <= now) ban.times = 0;
    long double time = static_cast<long double>(ns(limit.ban->time));
    for (unsigned i = 0; i < ban.times; ++i) time = std::min(time * limit.ban->factor, static_cast<long double>(ns(limit.ban->max)));
    ban.until = now + static_cast<uint64_t>(time);
    ++ban.times;
  }
  return Limited::over;
}

}  // namespace penstock::model
