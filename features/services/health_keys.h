// The keys `health` and `min-backends` of a service.
#pragma once
#include "core/config/descriptors.h"
#include "features/services/health.h"

namespace penstock {

Type<Health> health_type();
Doc health_doc();
Type<uint32_t> min_backends_type();
Doc min_backends_doc();

}  // namespace penstock
