// What services and other features must agree on.
#pragma once
#include "app/config.h"
#include "core/config/reader.h"

namespace penstock {

// No SYN proxy stands before a frontend: it answers for local listeners only.  Every check has a port to go to.
Result<> verify_services(const Document& document, Config& config);

}  // namespace penstock
