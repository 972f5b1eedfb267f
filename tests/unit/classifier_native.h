// The classifier's lookup compiled for this machine: what the kernel runs, on plain vectors.
#pragma once
#include <linux/bpf.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/model/rule_sets.h"

// Stands in for bpf_helpers.h and bpf/state.bpf.h.
#define SEC(name)
#define __uint(name, value) int name
#define __type(name, value) int name
#define __noinline inline __attribute__((noinline))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

namespace penstock::rule_sets::native {

// What the lookup sees.
struct World {
  ps_classifier classifier{};
  std::vector<ps_line> lines;
  std::vector<ps_rule> residuals;
  ps_packet packet{};
  const Sets* sets = nullptr;
  bool owned = false;
  uint64_t line_lookups = 0;
};
inline World world;

template <class Map>
void* lookup(const Map* map, const uint32_t* key);

inline ps_packet* packet_scratch() { return &world.packet; }

#define bpf_map_lookup_elem lookup
#include "features/policy/classifier.bpf.h"
#undef bpf_map_lookup_elem

inline class_walk kept_walk;

template <class Map>
void* lookup(const Map* map, const uint32_t* key) {
  const void* at = map;
  if (at == &classifiers) return *key == 0 ? &world.classifier : nullptr;
  if (at == &class_walks) return &kept_walk;
  ++world.line_lookups;
  return *key < world.lines.size() ? &world.lines[*key] : nullptr;
}

// The residual entries by the model's own test.
inline __u64 policy_walk(xdp_md*, __u32 at, __u32 end) {
  for (; at < end; ++at) {
    ClassifierRule rule;
    rule.rule = world.residuals.at(at);
    if (!matches(rule, world.packet.outer, *world.sets, world.owned)) continue;
    if (rule.rule.verdict != PS_RULE_SKIP) return POLICY_MATCHED | at;
    at += rule.rule.slot;
  }
  return at;
}

inline void load(const Classifier& built, const Sets& sets) {
  constexpr uint32_t elsewhere = 5;  // lines and residuals must not depend on where they lie
  world = {};
  world.classifier = built.descriptor;
  world.classifier.base = elsewhere;
  world.classifier.first_residual = elsewhere;
  world.lines.resize(elsewhere);
  world.lines.insert(world.lines.end(), built.lines.begin(), built.lines.end());
  world.residuals.resize(elsewhere);
  world.residuals.insert(world.residuals.end(), built.residuals.begin(), built.residuals.end());
  world.sets = &sets;
}

// The position of the first match, -1 if there is none.
inline long find(const ps_datagram& packet, bool owned = false) {
  world.packet.outer = packet;
  world.owned = owned;
  const ps_class_entry* e = class_entry(classifier_line(nullptr, 0, 0));
  return e ? static_cast<long>(e->position) : -1;
}

}  // namespace penstock::rule_sets::native
