// Lets libFuzzer see the coverage of code that g++ compiled (clang 14 cannot compile std::expected of this library).
// g++'s -fsanitize-coverage=trace-pc calls a function at each edge; its return address picks one of the counters that
// libFuzzer watches.
#include <cstddef>
#include <cstdint>

extern "C" void __sanitizer_cov_8bit_counters_init(uint8_t* first, uint8_t* last);

namespace {
constexpr size_t count = 1u << 16;
uint8_t counters[count];
[[gnu::constructor]] void watch() { __sanitizer_cov_8bit_counters_init(counters, counters + count); }
}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  const auto place = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  uint8_t& counter = counters[(place ^ place >> 16) % count];
  if (counter < 255) ++counter;
}

// g++ reports comparisons of floating point too, which libFuzzer does not know.
extern "C" void __sanitizer_cov_trace_cmpd(double, double) {}
extern "C" void __sanitizer_cov_trace_cmpf(float, float) {}
