// The keys `health` and `min-backends` as the rest of the program asks for them.
#pragma once
#include "core/config/descriptors.h"
#include "features/services/config.h"
#include "features/services/health.h"

namespace penstock {

std::vector<Extension> health_keys();                   // of a service
const Health* health_of(const Service& service);        // nullptr: it is not checked
uint32_t min_backends_of(const Service& service);
std::string health_text_of(const Service& service);     // tells any two apart; empty where neither key is given
// The port that checks go to: the one that is named, or the only one of the frontends.  Nothing: there is none such.
std::optional<uint16_t> checked_port(const Service& service, const Health& health);

}  // namespace penstock
