// Settings below /proc/sys, of this network namespace where they have one.
#pragma once
#include <string>

#include "core/base/result.h"

namespace penstock {

// `name` with slashes: "net/ipv4/conf/lo/forwarding".  The value without its newline.
Result<std::string> read_sysctl(const std::string& name);
Result<> write_sysctl(const std::string& name, const std::string& value);

}  // namespace penstock
