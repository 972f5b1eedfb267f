// The key `syn-proxy` of an interface.
#pragma once
#include "core/config/descriptors.h"
#include "features/syn_proxy/config.h"

namespace penstock {

Extension syn_proxy_key();  // sets a SynProxy

}  // namespace penstock
