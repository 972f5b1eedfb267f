// The section `interfaces` of the file.
#pragma once
#include "core/config/types.h"
#include "features/interfaces/config.h"

namespace penstock {

// Defines names of the kind "interface".  `keys`: what other features add to an interface.
Type<std::vector<Interface>> interfaces_type(const std::vector<Extension>& keys);

}  // namespace penstock
