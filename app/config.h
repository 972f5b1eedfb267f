// The whole file, decoded: typed values, defaults filled, every reference checked.
#pragma once
#include <string>
#include <vector>

#include "core/net/address.h"
#include "features/interfaces/config.h"
#include "features/policy/config.h"
#include "features/sets/config.h"
#include "features/tests/config.h"

namespace penstock {

struct Config {
  std::string file;                      // as named by the user
  std::vector<Address> management;       // addresses that must never be cut off
  std::vector<Interface> interfaces;     // in the order of the file, as are all lists
  std::vector<Set> sets;
  std::vector<Policy> policies;
  std::vector<Test> tests;
};

// Reads, decodes and verifies `path`.  Set files are read too.  `text`, when given, stands for the file's content.
Result<Config> load_config(const std::string& path);

}  // namespace penstock
