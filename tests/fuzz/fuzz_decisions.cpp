// Any bytes as a stream of decisions, whole and cut into pieces: both read the same, and every lifetime is one.
#include <cstdint>
#include <cstdlib>

#include "core/base/diagnostic.h"
#include "core/base/utf8.h"
#include "features/sets/decisions.h"

using namespace penstock;

namespace {

struct Read {
  std::vector<Decision> decisions;
  std::vector<Diagnostic> refused;
};

Read read(std::string_view text, size_t step) {
  DecisionReader reader("in");
  for (size_t at = 0; at < text.size(); at += step) reader.feed(text.substr(at, step), false);
  reader.feed({}, true);
  return {reader.take(), reader.take_refused()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Read whole = read(text, size + 1), pieces = read(text, 3);
  if (whole.decisions.size() != pieces.decisions.size() || whole.refused.size() != pieces.refused.size()) std::abort();
  for (size_t i = 0; i < whole.decisions.size(); ++i) {
    const Decision &a = whole.decisions[i], &b = pieces.decisions[i];
    if (a.removed != b.removed || a.element.prefix != b.element.prefix || a.element.lifetime != b.element.lifetime) std::abort();
    if (a.element.lifetime && a.element.lifetime->count() <= 0) std::abort();
  }
  for (size_t i = 0; i < whole.refused.size(); ++i)
    if (whole.refused[i].at.line != pieces.refused[i].at.line) std::abort();
  return 0;
}
