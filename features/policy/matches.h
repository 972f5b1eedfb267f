// How the matches of a rule are written.
#pragma once
#include "core/config/types.h"
#include "features/policy/config.h"

namespace penstock {

// `any`, a set, a prefix, a list of sets and prefixes; "!x" or { not: x } turns the whole round.
Type<AddressMatch> address_match_type();
// 443, "1024-2047", a set of ports, a list of these; "!x" or { not: x } turns the whole round.
Type<PortMatch> port_match_type();
// A name such as tcp, or a protocol number.
Type<uint8_t> proto_type();

// header_matches.cpp
Type<FlagsMatch> flags_match_type();        // syn | established | [syn, "!ack"]
Type<IcmpMatch> icmp_match_type();          // echo-request, 3, "3/4", a list of these
Type<NumberMatch> vlan_match_type();        // 10, "10-20", none, any, a list of these; negation
Type<NumberMatch> dscp_match_type();        // ef, 46, a list of these; negation
Type<NumberMatch> ttl_match_type();         // 1, "0-5", a list of these; negation
Type<NumberMatch> length_match_type();      // bytes, likewise
Type<FragmentMatch> fragment_match_type();
Type<OptionsMatch> options_match_type();
Type<MacMatch> mac_match_type();            // an address or a list; negation
Type<InterfaceMatch> interface_match_type();

}  // namespace penstock
