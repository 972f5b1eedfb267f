// A rule in one line, complete: two rules have the same text when they mean the same.
#pragma once
#include <string>

#include "features/policy/config.h"

namespace penstock {

std::string rule_text(const Rule& rule);       // without its name and place
const char* action_text(Action action);        // "accept"

}  // namespace penstock
