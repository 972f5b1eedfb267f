// The new file: what was said as YAML, what was left out as comments in its place.
#pragma once
#include <string>

#include "app/import/flatten.h"

namespace penstock::foreign {

// `title`: what the first comment says of where it comes from.  Gives long lists of addresses to sets of their own.
std::string write(Flat& flat, const std::string& title);

// One line of any text that may stand in a comment: no controls, no invalid UTF-8, at most `most` characters.
std::string comment(const std::string& text, size_t most = 240);

}  // namespace penstock::foreign
