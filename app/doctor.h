// What this machine can do and what would be in the way, with the remedy.  Changes nothing.
#pragma once
#include <string>
#include <vector>

#include "core/base/result.h"

namespace penstock {

enum class Health { ok, warn, fail };

struct Check {
  Health health = Health::ok;
  std::string name;      // "kernel", "eth0 mtu"
  std::string finding;   // "6.18.2"
  std::string remedy{};  // what to do, where anything is to be done
};

// The machine, then every device of this network namespace (or only those named).
std::vector<Check> doctor(const std::vector<std::string>& devices = {});

const char* health_name(Health health);   // "ok", "warn", "fail"

}  // namespace penstock
