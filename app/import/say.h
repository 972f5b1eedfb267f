// A conjunction of fields in the words of a penstock rule.
#pragma once
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "app/import/ruleset.h"

namespace penstock::foreign {

struct Unsayable {
  std::string reason, hint;
};

// The keys of one rule and their values as YAML, in the order they are written.
using Keys = std::vector<std::pair<std::string, std::string>>;

// What the words lean on.
struct Vocabulary {
  std::vector<std::string> interfaces;   // by the number of the device
  std::vector<NamedSet> sets;            // say() adds those that are too long for a rule
  Ranges indifferent;                    // addresses of a family that no such rule ever sees

  NamedSet* find(const std::string& name);
};

// One rule or more, each of which matches a part of the box and all together exactly the box.  `name`: of sets to add.
std::expected<std::vector<Keys>, Unsayable> say(const Box& box, Vocabulary& words, const std::string& name);

// `text` as a YAML scalar within { } or [ ]: quoted where a character has a meaning there.
std::string scalar(const std::string& text);
// Lower-case name of at most `most` characters in the words of the file: a-z, 0-9, -, _ and `.`; "" if nothing is left.
std::string name_from(const std::string& text, size_t most = 56);
// The same for a set, unlike those of `taken`, and unlike a word or an address that may stand in its place.
std::string set_name_from(const std::string& text, const std::vector<std::string>& taken);

}  // namespace penstock::foreign
