// The section `receive` of the file.
#pragma once
#include <optional>

#include "core/config/descriptors.h"
#include "features/receive/config.h"

namespace penstock {

Type<std::optional<Receive>> receive_type();

}  // namespace penstock
