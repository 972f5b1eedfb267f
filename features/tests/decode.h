// The section `tests` of the file.
#pragma once
#include "core/config/types.h"
#include "features/tests/config.h"

namespace penstock {

Type<std::vector<Test>> tests_type();  // refers to names of the kinds "interface" and "rule"

}  // namespace penstock
