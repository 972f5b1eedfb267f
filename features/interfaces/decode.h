// The section `interfaces` of the file.
#pragma once
#include "core/config/types.h"
#include "features/interfaces/config.h"

namespace penstock {

Type<std::vector<Interface>> interfaces_type();  // defines names of the kind "interface"

}  // namespace penstock
