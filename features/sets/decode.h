// The section `sets` of the file.
#pragma once
#include "core/config/types.h"
#include "features/sets/config.h"

namespace penstock {

Type<std::vector<Set>> sets_type();  // defines names of the kind "set"; reads the set files

}  // namespace penstock
