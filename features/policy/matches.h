// How the matches of a rule are written: addresses, protocol, ports.
#pragma once
#include "core/config/types.h"
#include "features/policy/config.h"

namespace penstock {

// `any`, a set, a prefix, a list of sets and prefixes; "!x" or { not: x } turns the whole round.
Type<AddressMatch> address_match_type();
// 443, "1024-2047", a list of these; "!x" or { not: x } turns the whole round.
Type<PortMatch> port_match_type();
// A name such as tcp, or a protocol number.
Type<uint8_t> proto_type();

}  // namespace penstock
