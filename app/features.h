// The list of features: every section that a file may have.
#pragma once
#include "app/config.h"
#include "core/config/types.h"

namespace penstock {

const Keys<Config>& config_keys();

}  // namespace penstock
