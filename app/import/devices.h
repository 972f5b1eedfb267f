// Which devices the new file attaches to, and which of them a condition such as `-i eth+` means.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/import/flatten.h"

namespace penstock::foreign {

// `wanted`, or else the devices that the lines of `chains` name, without the loopback.  Where there are none, a pattern
// for Ethernet; `notes` say what was chosen.  Errors: more than 63.
Result<std::vector<Device>> choose_devices(const std::vector<const Chain*>& chains, const std::vector<std::string>& wanted, std::vector<std::string>& notes);

// The numbers of the devices that all of `matches` mean.  Nothing: a pattern of ours is met in part.
std::optional<Ranges> devices_of(const std::vector<DeviceMatch>& matches, const std::vector<Device>& devices);

}  // namespace penstock::foreign
