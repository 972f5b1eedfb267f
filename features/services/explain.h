// What services found, in words.
#pragma once
#include <vector>

#include "core/plan/explanation.h"
#include "core/plan/image.h"
#include "features/services/config.h"

namespace penstock {

// `services`: of the file, in its order; `backends`: their ids.
Teller tell_services(const std::vector<Service>& services, const std::vector<BackendImage>& backends);

}  // namespace penstock
