// Limits and bans, beside a limiter on the kernel's LRU hash.
#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// Rows of the groups whose names contain `only`.  Throws std::runtime_error.
std::vector<Row> measure_limits(const std::string& object, const std::string& only, bool peers, const Options& options);

}  // namespace penstock::bench
