// The rows about rules: generated rule sets of every size, packets aimed at all rules evenly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// Sets whose name does not contain `only` are left out.  Throws std::runtime_error.
std::vector<Row> measure_rules(const std::string& object, const std::string& only, const Options& options);

// `count` rules of the access lists, as the entries of a policy's `rules:` in a file, the same for the same seed.
std::string rules_text(std::size_t count, std::uint64_t seed);

}  // namespace penstock::bench
