// The YAML that people write line by line, read without a YAML library: block maps and lists, flow maps and lists, words in
// one line, plain or in quotes without escapes.  Ten thousand rules are read in a few milliseconds.
#pragma once
#include <string_view>

#include "core/config/reader.h"

namespace penstock {

// Reads `text` (valid UTF-8, without zeros) into the tree that libyaml would give.  False: there is something in it that
// this does not know for certain, right or wrong; `root` is then unspecified.
bool read_quickly(std::string_view text, unsigned depth, Node& root);

}  // namespace penstock
