#include "app/import/approximate.h"

namespace penstock::foreign {
namespace {

constexpr const char* answers = "approximated: stands for the packets of connections that are established or related";

Ranges flags_with(unsigned any_of) {
  std::vector<Range> out;
  for (unsigned byte = 0; byte < 256; ++byte)
    if (byte & any_of) out.push_back({byte, byte});
  return Ranges(std::move(out));
}

Ranges types(std::initializer_list<unsigned> list) {
  std::vector<Range> out;
  for (const unsigned type : list) out.push_back({type * 256, type * 256 + 255});
  return Ranges(std::move(out));
}

}  // namespace

std::vector<Approximation> approximate_state(const Box& box, Verdict verdict) {
  const Ranges states = box.get(Field::state);
  Box rest = box;
  rest.set(Field::state, Ranges(0, most_of(Field::state)));
  if (verdict == Verdict::proceed) return {{rest, "approximated: counts packets of any state"}};
  if (verdict != Verdict::accept) return {{box, ""}};
  if (states.contains(new_state)) return {{rest, "approximated: accepts packets of any state"}};
  std::vector<Approximation> out;
  const auto add = [&](const Box& part) {
    if (Box both = rest & part; !both.empty()) out.push_back({std::move(both), answers});
  };
  if (states.contains(established_state)) {
    Box tcp, owned;
    tcp.restrict(Field::proto, {6, 6});
    tcp.restrict(Field::flags, flags_with(16 | 4));
    add(tcp);
    owned.restrict(Field::proto, {17, 17});
    owned.restrict(Field::socket, {1, 1});
    add(owned);
  }
  if (states.contains(established_state) || states.contains(related_state)) {
    // Echo replies belong to echo requests, errors to what they quote.
    Box v4, v6;
    v4.restrict(Field::from, all_v4());
    v4.restrict(Field::proto, {1, 1});
    v4.restrict(Field::icmp, types({0, 3, 11, 12}));
    v6.restrict(Field::from, all_v6());
    v6.restrict(Field::proto, {58, 58});
    v6.restrict(Field::icmp, types({1, 2, 3, 4, 129}));
    add(v4);
    add(v6);
  }
  if (out.empty()) return {{box, ""}};
  return out;
}

}  // namespace penstock::foreign
