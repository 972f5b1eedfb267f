#include "app/import/ranges.h"

#include <algorithm>

namespace penstock::foreign {

Ranges::Ranges(Value first, Value last) : list_(std::make_shared<const std::vector<Range>>(1, Range{first, last})) {}

Ranges::Ranges(std::vector<Range> list) {
  std::ranges::sort(list, {}, &Range::first);
  *this = sorted(std::move(list));
}

Ranges Ranges::sorted(std::vector<Range> list) {
  size_t end = 0;
  for (const Range& r : list) {
    // `last + 1` would wrap at the highest number.
    if (end && (r.first <= list[end - 1].last || r.first - 1 == list[end - 1].last))
      list[end - 1].last = std::max(list[end - 1].last, r.last);
    else
      list[end++] = r;
  }
  list.resize(end);
  return Ranges(end ? std::make_shared<const std::vector<Range>>(std::move(list)) : nullptr);
}

const std::vector<Range>& Ranges::list() const {
  static const std::vector<Range> none;
  return list_ ? *list_ : none;
}

bool Ranges::contains(Value value) const {
  const auto after = std::ranges::upper_bound(list(), value, {}, &Range::first);
  return after != list().begin() && value <= std::prev(after)->last;
}

Value Ranges::count() const {
  Value sum = 0;
  for (const Range& r : list()) sum += r.last - r.first + 1;
  return sum;
}

Ranges Ranges::operator&(const Ranges& other) const {
  const std::vector<Range>&x = list(), &y = other.list();
  if (x.empty() || y.empty()) return {};
  if (x.size() == 1 && x[0].first <= y.front().first && x[0].last >= y.back().last) return other;
  if (y.size() == 1 && y[0].first <= x.front().first && y[0].last >= x.back().last) return *this;
  std::vector<Range> out;
  for (auto a = x.begin(), b = y.begin(); a != x.end() && b != y.end();) {
    const Value first = std::max(a->first, b->first), last = std::min(a->last, b->last);
    if (first <= last) out.push_back({first, last});
    if (a->last < b->last) ++a; else ++b;
  }
  return sorted(std::move(out));
}

Ranges Ranges::operator|(const Ranges& other) const {
  if (empty()) return other;
  if (other.empty()) return *this;
  std::vector<Range> both;
  both.reserve(list().size() + other.list().size());
  std::ranges::merge(list(), other.list(), std::back_inserter(both), {}, &Range::first, &Range::first);
  return sorted(std::move(both));
}

Ranges Ranges::complement(Value most) const {
  std::vector<Range> out;
  Value next = 0;
  for (const Range& r : list()) {
    if (r.first > next) out.push_back({next, r.first - 1});
    if (r.last >= most) return sorted(std::move(out));
    next = r.last + 1;
  }
  out.push_back({next, most});
  return sorted(std::move(out));
}

Ranges Ranges::without(const Ranges& other) const { return *this & other.complement(most_address); }

Ranges values_of(const Prefix& prefix) {
  const Address mask = Prefix::mask(prefix.length);
  const Value first = value_of(prefix.address);
  return {first, first | ~value_of(mask)};
}

static constexpr Value first_v4 = value_of(Address::v4(0)), last_v4 = value_of(Address::v4(~0u));

const Ranges& all_v4() {
  static const Ranges ranges(first_v4, last_v4);
  return ranges;
}

const Ranges& all_v6() {
  static const Ranges ranges = all_v4().complement(most_address);
  return ranges;
}

static constexpr Value low_bits(unsigned bits) { return bits == 128 ? most_address : (Value{1} << bits) - 1; }

static void cut(const Ranges& ranges, std::vector<Prefix>& out) {
  for (const Range& r : ranges.list()) {
    for (Value at = r.first;;) {
      unsigned bits = 0;  // of the widest block that begins here and ends within
      while (bits < 128 && !(at & low_bits(bits + 1)) && (at | low_bits(bits + 1)) <= r.last) ++bits;
      out.push_back({address_of(at), static_cast<uint8_t>(128 - bits)});
      const Value last = at | low_bits(bits);
      if (last == r.last) break;
      at = last + 1;
    }
  }
}

std::vector<Prefix> prefixes_of(const Ranges& addresses) {
  std::vector<Prefix> out;
  cut(addresses & all_v4(), out);
  Ranges v6 = addresses & all_v6();
  // Where both sides of the hole that IPv4 lies in are wanted, filling it changes nothing and joins them.
  if (v6.contains(first_v4 - 1) && v6.contains(last_v4 + 1)) v6 = v6 | all_v4();
  cut(v6, out);
  return out;
}

}  // namespace penstock::foreign
