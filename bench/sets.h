// The rows about sets: lookups of millions of prefixes beside the kernel's LPM trie.
#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// Groups whose name does not contain `only` are left out, and without `peers` the
// LPM tries too.  Throws std::runtime_error.
std::vector<Row> measure_sets(const std::string& object, const std::string& only, bool peers, const Options& options);

}  // namespace penstock::bench
