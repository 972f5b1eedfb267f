// Sets from any prefixes, with and without ids: each lookup finds the longest prefix, and nothing outside the tables is
// read.  The lookups of the bytecode, compiled for this machine.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "features/sets/table.h"
#include "tests/unit/sets_native.h"

namespace {

using namespace penstock::sets;
using Wide = unsigned __int128;

Wide address_of(const Element& e) { return Wide{e.hi} << 64 | e.lo; }
Wide mask(unsigned length) { return length == 0 ? 0 : ~Wide{0} << (128 - length); }

struct Input {
  const uint8_t* data;
  size_t size;
  uint8_t byte() { return size == 0 ? 0 : (--size, *data++); }
};

// A prefix near the one before, so that tables get dense; sometimes anywhere.
Element next(Input& in, bool ipv6, Wide& last, uint32_t id) {
  const uint8_t what = in.byte();
  const unsigned width = ipv6 ? 128 : 32;
  if (what & 0x80) {
    for (int i = 0; i < 4; ++i) last = last << 32 ^ in.byte() * Wide{0x9e3779b97f4a7c15} << (what % 64);
  } else {
    last += Wide{in.byte()} << (128 - width + what % width);
  }
  const unsigned length = 1 + in.byte() % width;
  const Wide address = last & mask(length);
  return {static_cast<uint64_t>(address >> 64), static_cast<uint64_t>(address), id, static_cast<uint8_t>(length), ipv6};
}

void check(const set_table& set, bool ipv6, const std::vector<Element>& elements, Ids ids, Wide address) {
  if (!ipv6) address &= mask(32);
  const Element* best = nullptr;
  for (const Element& e : elements)
    if (((address ^ address_of(e)) & mask(e.length)) == 0 && (!best || e.length >= best->length)) best = &e;
  const uint32_t want = !best ? 0 : ids == Ids::yes ? best->id : 1;
  const uint32_t got = set_lookup(&set, ~0u, ipv6, static_cast<uint64_t>(address >> 64), static_cast<uint64_t>(address));
  if (got == want) return;
  std::fprintf(stderr, "%016llx%016llx: found %u, not %u\n", static_cast<unsigned long long>(address >> 64), static_cast<unsigned long long>(address), got, want);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in{data, size};
  const uint8_t flags = in.byte();
  const bool ipv6 = flags & 1;
  const Ids ids = flags & 2 ? Ids::yes : Ids::no;
  const unsigned repeat = flags & 4 ? 1 + in.byte() : 1;  // the same pattern in many places: tables of many lines
  Wide last = Wide{0x2001} << 112;
  std::vector<Element> elements;
  while (in.size > 0) elements.push_back(next(in, ipv6, last, static_cast<uint32_t>(elements.size() + 1)));
  const size_t pattern = elements.size();
  for (unsigned n = 1; n < repeat && elements.size() < 3000; ++n)
    for (size_t i = 0; i < pattern; ++i) {
      Element e = elements[i];
      const Wide moved = (address_of(e) + (Wide{n} << (ipv6 ? 96 : 112))) & mask(e.length);
      e.hi = static_cast<uint64_t>(moved >> 64);
      e.lo = static_cast<uint64_t>(moved);
      e.id = static_cast<uint32_t>(elements.size() + 1);
      elements.push_back(e);
    }
  std::vector<Element> sorted = elements;
  auto tables = build_set(sorted, ids);
  native::bind(&set_lines, tables.part[ipv6].lines);
  set_table set{};
  set.part[ipv6] = tables.part[ipv6].part;
  const size_t step = 1 + elements.size() / 64;
  for (size_t i = 0; i < elements.size(); i += step) {
    const Wide first = address_of(elements[i]), behind = ~mask(elements[i].length);
    const Wide one = ipv6 ? 1 : Wide{1} << 96;
    for (const Wide a : {first, first | behind, first - one, (first | behind) + 1, first ^ (behind >> 1) ^ behind}) check(set, ipv6, elements, ids, a);
  }
  return 0;
}
