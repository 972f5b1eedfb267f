#include "features/policy/talkers.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "bpf/counters.h"
#include "core/kernel/bpf.h"
#include "features/policy/tables.h"

namespace penstock {
namespace {

template <class T>
T read_as(const Bytes& bytes) {
  T out{};
  std::memcpy(&out, bytes.data(), std::min(sizeof out, bytes.size()));
  return out;
}

}  // namespace

Result<std::vector<Talker>> read_talkers(int map, const std::set<uint32_t>& slots) {
  TRY_ASSIGN(const auto entries, map_entries(map));
  std::map<Address, Talker> sums;  // a rule may count in several slots
  for (const auto& [key_bytes, value_bytes] : entries) {
    const auto key = read_as<ps_talker_key>(key_bytes);
    if (!slots.contains(key.slot)) continue;
    const auto counter = read_as<ps_counter>(value_bytes);
    Talker& sum = sums[{key.address.hi, key.address.lo}];
    sum.address = {key.address.hi, key.address.lo};
    sum.packets += counter.packets;
    sum.bytes += counter.bytes;
  }
  std::vector<Talker> out;
  for (const auto& [address, talker] : sums) out.push_back(talker);
  std::ranges::stable_sort(out, std::ranges::greater{}, &Talker::packets);
  return out;
}

Result<> forget_talkers(int map, const std::set<uint32_t>& known) {
  TRY_ASSIGN(const auto entries, map_entries(map));
  for (const auto& [key, value] : entries)
    if (!known.contains(read_as<ps_talker_key>(key).slot)) TRY(map_delete(map, key.data()));
  return {};
}

}  // namespace penstock
