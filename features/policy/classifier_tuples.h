// Which entries of a classifier are looked up together: the choice of tuples.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/net/address.h"
#include "features/policy/classifier_tables.h"

namespace penstock {

// What decides where an entry can be found; classifier.cpp makes it from a rule.
struct ClassifierKey {
  Address address[2];       // by enum ps_side; without a prefix all zero, length 0
  uint8_t length[2] = {};
  bool has_proto = false;
  uint8_t proto = 0;
  uint16_t port_first[2] = {};
  uint16_t port_last[2] = {65535, 65535};
};

// How a tuple masks packets.  Entries that are more specific belong to it as well as those that say just this.
struct TupleMask {
  uint8_t length[2] = {};   // prefix lengths
  bool port[2] = {};        // the port counts
  bool proto = false;

  ps_class_tuple masks() const;  // without seed and first
  auto operator<=>(const TupleMask&) const = default;
};

// The sum that classifier.bpf.h calls the hash, of a packet that looks like `key`.
uint64_t tuple_hash(const ps_class_tuple& tuple, const ClassifierKey& key);

struct TupleGroup {
  TupleMask mask;
  std::vector<uint32_t> entries;  // indexes into the keys, ascending
};

// At most PS_TUPLES_MAX groups, each entry in one of them.
std::vector<TupleGroup> choose_tuples(std::span<const ClassifierKey> keys);

}  // namespace penstock
