// Services: what a packet costs that is balanced, by the number of connections and the way to the backend.
#pragma once
#include <string>
#include <vector>

#include "bench/harness.h"

namespace penstock::bench {

// `object`: of programs.bpf.c; `only`: rows whose name contains it.  Throws std::runtime_error.
std::vector<Row> measure_services(const std::string& object, const std::string& only, const Options& options);

}  // namespace penstock::bench
