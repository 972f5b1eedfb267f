// The rows of a backend that strips encapsulation.
#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// Nothing unless its name contains `only`.
std::vector<Row> measure_receive(const std::string& object, const std::string& only, const Options& options);

}  // namespace penstock::bench
