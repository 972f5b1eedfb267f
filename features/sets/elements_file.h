// Run-time elements on disk: STATE/elements/SET, the truth that outlives a reboot.  A header line, then one element a
// line: the prefix and the wall-clock time of its end, ms since 1970, or `never`.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/address.h"
#include "core/plan/instance.h"
#include "features/sets/table.h"

namespace penstock::sets {

struct RunTimeElement {
  Prefix prefix;
  int64_t end = 0;  // wall clock, ms; 0: never
  bool operator==(const RunTimeElement&) const = default;
};

struct ElementsHeader {
  uint32_t number = 0;   // of the set
  uint64_t version = 0;  // changes with every write
};

struct ElementsFile : ElementsHeader {
  std::vector<RunTimeElement> elements;  // sorted by prefix, no duplicates
};

std::string elements_path(const Instance& instance, const std::string& set);
std::vector<std::string> sets_with_elements(const Instance& instance);  // names, those that have a file

// A file that is not there: nothing, version 0.
Result<ElementsHeader> read_elements_header(const std::string& path);
Result<ElementsFile> read_elements(const std::string& path);

// Writes aside; put_elements() moves it into place: all of it or nothing, whenever the machine stops.
Result<> write_elements_aside(const std::string& path, const ElementsFile& file);
Result<> put_elements(const std::string& path);

int64_t wall_now();  // ms since 1970

// Between what people write and what tables hold (tables.h: left aligned).
Element to_element(const Prefix& prefix);
Prefix to_prefix(const Element& element);

}  // namespace penstock::sets
