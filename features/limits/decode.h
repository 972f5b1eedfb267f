// The key `limit` of a rule.
#pragma once
#include "core/config/descriptors.h"
#include "features/limits/config.h"

namespace penstock {

Type<Limit> limit_type();
Doc limit_doc();

}  // namespace penstock
