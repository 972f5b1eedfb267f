// Any bytes as a set file.  What is accepted must be sorted, without host bits, and the same when written and read again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "core/base/diagnostic.h"
#include "core/base/utf8.h"
#include "features/sets/set_file.h"

using namespace penstock;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto set = parse_set_text(text, "set.txt");
  if (!set) {
    const std::string shown = render(set.error(), false);
    if (find_invalid_utf8(shown) != std::string::npos) std::abort();
    return 0;
  }
  if (!std::is_sorted(set->begin(), set->end())) std::abort();
  std::string written;
  for (const Prefix& p : *set) {
    if (!p.contains(p.address) || p.length > 128) std::abort();
    written += p.text() + "\n";
  }
  const auto again = parse_set_text(written, "again.txt");
  if (!again || *again != *set) std::abort();
  return 0;
}
