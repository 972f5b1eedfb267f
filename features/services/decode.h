// The sections `services` and `flows` of the file.
#pragma once
#include "core/config/types.h"
#include "features/services/config.h"

namespace penstock {

// Refers to names of the kinds "interface" and "set".  The extensions are the keys that other parts add to a service and to a
// backend; their values are found in Service::extensions and Backend::extensions.
Type<std::vector<Service>> services_type(const std::vector<Extension>& of_service = {}, const std::vector<Extension>& of_backend = {});
Type<Flows> flows_type();

}  // namespace penstock
