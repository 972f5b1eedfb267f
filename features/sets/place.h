// Where a set says an element.
#pragma once
#include <string>

#include "core/net/address.h"
#include "features/sets/config.h"

namespace penstock {

// The line of the set's own file (read again where the set was read from), or the place in the configuration, whose
// `text` that is.  Where it cannot be told: the file without a line, or the set.
Location place_of(const Set& set, const Prefix& prefix, const std::string& text);

}  // namespace penstock
