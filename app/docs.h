// What is written about the file, generated from the descriptors that decode it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace penstock {

nlohmann::ordered_json generate_schema();   // JSON Schema, draft 2020-12
std::string generate_reference();           // docs/reference.md
std::string generate_man_page();            // node.yaml(5), roff for man(7) macros
std::string generate_sample();              // a node.yaml with everything commented out: "# " before words, "#" before keys

}  // namespace penstock
