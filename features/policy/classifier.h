// Builds the tables of classifier_tables.h; pure, no system call.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/net/address.h"
#include "features/policy/classifier_tables.h"
#include "features/policy/tables.h"

namespace penstock {

// One entry of an ordered list: all that `rule` says, and the address of each side (enum ps_side) in a prefix where
// one is given.  A rule that skips has no prefixes.
struct ClassifierRule {
  ps_rule rule{};
  std::optional<Prefix> prefix[2];
  bool same_rule = false;  // as the entry before
};

struct Classifier {
  ps_classifier descriptor{};        // base and first_residual are 0: whoever copies sets them
  std::vector<ps_line> lines;        // for map `classifier_lines`
  std::vector<ps_rule> residuals;    // for map `policy_rules`
  size_t entries = 0;
  size_t longest_chain = 0;
};

// Lists of at most this many entries are one chain, walked in order: below it that is cheaper than looking fields up.
inline constexpr size_t classifier_chain_max = 24;

// The first entry of the list that matches is what a lookup finds.  Nothing: the list cannot be told in these tables
// (more than PS_RESIDUAL_COUNT_MAX - 1 skip an entry, or one skips an entry that skips further); walk it instead.
std::optional<Classifier> build_classifier(std::span<const ClassifierRule> rules, size_t chain_max = classifier_chain_max);

}  // namespace penstock
