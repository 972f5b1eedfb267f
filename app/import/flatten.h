// Chains that jump into one another become one list of rules, the first match deciding.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/import/ruleset.h"
#include "app/import/say.h"
#include "core/base/result.h"

namespace penstock::foreign {

struct Options {
  std::string chain = "INPUT";            // INPUT, FORWARD, or a chain by its name
  std::vector<std::string> devices;       // to attach to; empty: those that the rules name
  std::optional<Verdict> policy;          // in the place of what the original says
  bool approximate_state = false;
};

// A line that was left out, or one that is told otherwise than it was.
struct Left {
  Place place;
  std::string reason, hint;
  Effect effect = Effect::none;
  bool counts = true;                     // it bears on packets that come in; else it only stood in the file
};

// A rule of the new file, or the place where one was left out.
struct Entry {
  const Line* line = nullptr;
  Box box;
  Verdict verdict = Verdict::accept;
  std::vector<const Line*> twins;         // lines of the other family that say the same
  std::string base;                       // of its name: the author's, or CHAIN-NUMBER
  std::string approximation;              // how it differs from the original; empty: not at all
  std::string left;                       // why nothing stands here; empty: a rule does
};

struct NewPolicy {
  std::string name;
  Verdict fallback = Verdict::accept;
  std::vector<Entry> entries;
  Ranges indifferent;                     // the family that the original does not judge here
};

struct Device {
  std::string interface;                  // its name in the new file
  std::string match;                      // the device or pattern there, as YAML
  std::string device;                     // the name or pattern; empty where nobody named one
};

struct Flat {
  std::vector<Device> devices;
  std::vector<NewPolicy> policies;
  Vocabulary words;
  std::vector<Left> left;                 // in the order of the original
  std::vector<std::string> notes;         // what holds of the whole
  size_t lines = 0, said = 0;             // of the original: rules read, and those that stand in the new file
};

// Errors: a chain that is not there or jumps to itself, more than 63 devices, more than 200,000 rules.
Result<Flat> flatten(Ruleset& rules, const Options& options);

}  // namespace penstock::foreign
