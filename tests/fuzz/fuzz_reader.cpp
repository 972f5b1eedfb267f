// Any bytes as the whole file: read, decode, verify, and show what is wrong.
#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/config.h"
#include "core/base/diagnostic.h"
#include "core/base/utf8.h"

using namespace penstock;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  // Set files are not this fuzzer's matter, and must not be whatever path the bytes spell.
  for (size_t at; (at = text.find("file")) != text.npos;) text[at] = 'F';
  const auto config = load_config_text("node.yaml", std::move(text));
  if (config) return 0;
  if (config.error().diagnostics.empty() || config.error().diagnostics.size() > 20) std::abort();
  for (const Diagnostic& d : config.error().diagnostics) {
    if (d.message.empty() || d.at.file != "node.yaml") std::abort();
    if (find_invalid_utf8(render(d, Severity::error, true)) != std::string::npos) std::abort();
    (void)diagnostic_json(d).dump();  // throws when a string is not UTF-8
  }
  return 0;
}
