// What a rule's keys mean together.
#pragma once
#include "core/config/decoder.h"
#include "features/policy/config.h"

namespace penstock {

// Fills in the protocol that flags and ICMP types imply.  False: reported; keys contradict each other.
bool check_rule(Decoder& decoder, const Node& node, Rule& rule);

}  // namespace penstock
