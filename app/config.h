// The whole file, decoded: typed values, defaults filled, every reference checked.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/net/address.h"
#include "features/interfaces/config.h"
#include "features/policy/config.h"
#include "features/services/config.h"
#include "features/receive/config.h"
#include "features/sets/config.h"
#include "features/tests/config.h"

namespace penstock {

struct Config {
  std::string file;                      // as named by the user
  std::string text;                      // its content
  uint32_t version = 1;                  // of the language
  std::vector<Address> management;       // addresses that must never be cut off
  std::vector<Interface> interfaces;     // in the order of the file, as are all lists
  std::vector<Set> sets;
  std::vector<Policy> policies;
  std::vector<Service> services;
  Flows flows;
  std::optional<Receive> receive;
  std::vector<Test> tests;
  std::vector<Diagnostic> warnings;      // what is allowed but surprises, in the order of the file
};

// Reads, decodes and verifies `path`.  Set files are read too.  Up to 20 errors are reported in one run.
Result<Config> load_config(const std::string& path);
// The same with the file's content already in hand; `path` is named in messages, and relative paths start at its folder.
// `copies`: the folder of a kept revision's set files, read in the place of those that the text names.
Result<Config> load_config_text(const std::string& path, std::string text, const std::string& copies = {});

// Fills the source line of diagnostics that point into the file but were made after it was read.
void quote_source(Error& error, const Config& config);

}  // namespace penstock
