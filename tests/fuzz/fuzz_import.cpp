// Any bytes as the rules of another firewall: the first byte chooses the format.  What comes out must be a file that
// can be read, or an error that can be shown.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "app/config.h"
#include "app/import/import.h"
#include "core/base/diagnostic.h"
#include "core/base/utf8.h"

using namespace penstock;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const formats[] = {"iptables-save", "nft-json", "ufw"};
  if (!size) return 0;
  foreign::Options options;
  options.approximate_state = data[0] & 4;
  if (data[0] & 8) options.chain = "FORWARD";
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto imported = foreign::import_rules(formats[data[0] % 3], {{"rules", text}}, {}, options);
  if (!imported) {
    for (const Diagnostic& d : imported.error().diagnostics)
      if (d.message.empty() || find_invalid_utf8(render(d, Severity::error, true)) != std::string::npos) std::abort();
    return 0;
  }
  const std::string& yaml = imported->yaml;
  if (const auto config = load_config_text("node.yaml", yaml); !config) {
    std::fputs((yaml + render(config.error(), false)).c_str(), stderr);
    std::abort();
  }
  return 0;
}
