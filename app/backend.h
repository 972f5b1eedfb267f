// What a backend's host must be like for `receive` to reach its services: whose address a frontend is, who hears of it,
// and what the reverse path filter does to packets of clients.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/doctor.h"
#include "core/kernel/links.h"
#include "core/kernel/route.h"

namespace penstock {

// What is asked of the host.
struct BackendFacts {
  std::vector<Device> devices;
  std::vector<OwnAddress> addresses;
  // net.ipv4.conf.DEVICE.NAME; nothing where it cannot be read.
  std::function<std::optional<int>(const std::string& device, const std::string& name)> setting;
};
Result<BackendFacts> backend_facts();

// One check for each frontend of config.receive, and those of each device that encapsulated packets arrive on.  Nothing
// without `receive`.  Pure.
std::vector<Check> check_backend(const Config& config, const BackendFacts& facts);

}  // namespace penstock
