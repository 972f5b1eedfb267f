// The row of the WireGuard guard.
#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// Nothing unless its name contains `only`.
std::vector<Row> measure_wireguard(const std::string& object, const std::string& only, const Options& options);

}  // namespace penstock::bench
