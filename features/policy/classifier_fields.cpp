#include "features/policy/classifier_fields.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace penstock {
namespace {

uint32_t common_bits(const Address& a, const Address& b) {
  return a.hi != b.hi ? std::countl_zero(a.hi ^ b.hi) : 64u + std::countl_zero(a.lo ^ b.lo);
}

// Table bits for `n` prefixes: one or two cells for each.
uint32_t root_bits(size_t n) { return std::clamp<uint32_t>(std::bit_width(n), 4, PS_ROOT_BITS); }

}  // namespace

uint32_t FieldTables::allocate(size_t lines) {
  const auto first = static_cast<uint32_t>(lines_.size());
  lines_.resize(lines_.size() + lines);
  return first;
}

// The classes of a node lie in one page: begins another if the last has no room for `classes` more.
void FieldTables::turn_page(size_t classes) {
  if (vectors_.size() + classes <= (page_ + 1) * size_t{PS_CLASS_PAGE}) return;
  vectors_.resize(++page_ * size_t{PS_CLASS_PAGE});
  classes_.clear();
}

uint32_t FieldTables::class_of(const TupleSet& tuples) {
  if (const auto at = classes_.find(tuples); at != classes_.end()) return at->second;
  turn_page(1);
  const auto number = static_cast<uint32_t>(vectors_.size());
  classes_.emplace(tuples, number);
  vectors_.push_back(tuples);
  return number;
}

void FieldTables::begin(uint32_t bits) {
  classes_.clear();
  vectors_.clear();
  page_ = 0;
  root_ = allocate(((1u << bits) + 15) / 16);
}

void FieldTables::root(uint32_t index, uint32_t value) {
  std::memcpy(reinterpret_cast<char*>(&lines_[root_ + index / 16]) + 4 * (index % 16), &value, sizeof value);
}

ps_class_field FieldTables::finish(const Window& w, const TupleSet& all) {
  ps_class_field field{};
  field.root = root_;
  field.mask = static_cast<__u16>((1u << w.bits) - 1);
  field.shift = static_cast<__u8>(w.shift());
  field.low = w.low();
  field.used = !std::ranges::all_of(vectors_, [&](const TupleSet& v) { return v.has(all); });
  const uint32_t first = allocate((vectors_.size() + 1) / 2);
  field.vectors = 2 * first;
  for (size_t i = 0; i < vectors_.size(); ++i)
    std::ranges::copy(vectors_[i].word, lines_[first + i / 2].word + 4 * (i % 2));
  return field;
}

// Which bits to look at in a region whose first `known` bits are decided.  As early as the deepest prefix can still be
// told in one step, else where the prefixes begin to differ.  Bits that are jumped over are not compared: an address
// that deviates there is taken for one inside, whose tuples are a superset of its own.
FieldTables::Window FieldTables::window(size_t first, size_t last, uint32_t known, uint32_t bits) const {
  const std::vector<Item>& items = *items_;
  uint32_t shortest = 128, longest = 0;
  for (size_t i = first; i < last; ++i) {
    shortest = std::min<uint32_t>(shortest, items[i].prefix.length);
    longest = std::max<uint32_t>(longest, items[i].prefix.length);
  }
  const uint32_t common = std::min(shortest, common_bits(items[first].prefix.address, items[last - 1].prefix.address));
  uint32_t offset = longest <= known + bits ? known : std::min(common, longest - bits);
  offset = offset < 64 ? std::min(offset, 64 - bits) : std::min(offset, 128 - bits);  // within one word
  return {offset, bits};
}

// The values from `from` to `to` (inclusive) of the window, of which items [first, last) lie inside and `tuples` hold
// for all.  A value with just one deeper item is not split further: its neighbours, too, are taken for the item.
void FieldTables::cover(size_t first, size_t last, const TupleSet& tuples, const Window& w, uint32_t from, uint32_t to,
                        Intervals& out) const {
  const std::vector<Item>& items = *items_;
  const auto emit = [&](Interval interval) {
    if (!out.empty() && !interval.deep() && !out.back().deep() && out.back().tuples == interval.tuples) return;
    out.push_back(interval);
  };
  uint32_t cursor = from;
  for (size_t i = first; i < last;) {
    const Item& item = items[i];
    const uint32_t start = w.of(item.prefix.address);
    if (start > cursor) emit({cursor, tuples});
    size_t next = i + 1;
    if (item.prefix.length <= w.end()) {
      while (next < last && item.prefix.contains(items[next].prefix.address)) ++next;
      const uint32_t end = start + ((1u << (w.end() - item.prefix.length)) - 1);
      cover(i + 1, next, tuples | item.tuples, w, start, end, out);
      cursor = end + 1;
    } else {
      while (next < last && w.of(items[next].prefix.address) == start) ++next;
      if (next == i + 1)
        emit({start, tuples | item.tuples});
      else
        emit({start, tuples, i, next});
      cursor = start + 1;
    }
    i = next;
  }
  if (cursor <= to) emit({cursor, tuples});
}

void FieldTables::region(uint32_t line, size_t first, size_t last, const TupleSet& tuples, uint32_t known,
                         size_t depth) {
  const Window w = window(first, last, known, PS_NODE_BITS);
  Intervals intervals;
  cover(first, last, tuples, w, 0, PS_NODE_KEY_MAX, intervals);
  node(line, intervals, 0, intervals.size(), w, depth);
}

// Writes intervals [first, last) to node `line`: as they are, or as children that share them evenly.
void FieldTables::node(uint32_t line, const Intervals& all, size_t first, size_t last, const Window& w, size_t depth) {
  depth_ = std::max(depth_, depth + 1);
  const size_t count = last - first;
  size_t per_child = 1;
  while (per_child * PS_NODE_FAN < count) per_child *= PS_NODE_FAN;
  const size_t values = (count + per_child - 1) / per_child;
  const auto begin_of = [&](size_t i) { return first + count * i / values; };
  const auto is_child = [&](size_t i) { return per_child > 1 || all[first + i].deep(); };

  uint32_t children = 0;
  for (size_t i = 0; i < values; ++i) children += is_child(i);
  const uint32_t child = allocate(children);

  turn_page(values - children);
  ps_class_node n{};
  n.page = static_cast<__u16>(page_);
  n.head = w.shift() | (w.low() ? 64u : 0u) | child << 7;
  std::ranges::fill(n.key, PS_NODE_KEY_MAX);
  uint32_t number = 0;
  for (size_t i = 0; i < PS_NODE_FAN; ++i) {
    if (i >= values) {
      n.value[i] = n.value[i - 1];
      continue;
    }
    if (i > 0) n.key[i - 1] = static_cast<__u16>(all[begin_of(i)].start);
    n.value[i] = static_cast<__u16>(is_child(i) ? PS_NODE_CHILD | number++ : class_of(all[begin_of(i)].tuples) % PS_CLASS_PAGE);
  }
  static_assert(sizeof n == sizeof(ps_line));
  std::memcpy(&lines_[line], &n, sizeof n);

  number = 0;
  for (size_t i = 0; i < values; ++i) {
    if (!is_child(i)) continue;
    const uint32_t at = child + number++;
    if (per_child > 1) {
      node(at, all, begin_of(i), begin_of(i + 1), w, depth + 1);
    } else {
      const Interval& deep = all[first + i];
      region(at, deep.first, deep.last, deep.tuples, w.end(), depth + 1);
    }
  }
}

ps_class_field FieldTables::addresses(const std::vector<Item>& items, const TupleSet& any, bool ipv4,
                                      const TupleSet& all) {
  items_ = &items;
  const uint32_t bits = root_bits(items.size());
  begin(bits);
  const Window w = items.empty() ? Window{ipv4 ? 96u : 0u, bits} : window(0, items.size(), ipv4 ? 96 : 0, bits);
  Intervals intervals;
  cover(0, items.size(), any, w, 0, (1u << bits) - 1, intervals);
  for (size_t i = 0; i < intervals.size(); ++i) {
    const Interval& interval = intervals[i];
    const uint32_t end = i + 1 < intervals.size() ? intervals[i + 1].start : 1u << bits;
    uint32_t value;
    if (interval.deep()) {
      const uint32_t line = allocate(1);
      region(line, interval.first, interval.last, interval.tuples, w.end(), 0);
      value = PS_ROOT_NODE | line;
    } else {
      value = class_of(interval.tuples);
    }
    for (uint32_t index = interval.start; index < end; ++index) root(index, value);
  }
  return finish(w, all);
}

ps_class_field FieldTables::ports(const std::map<uint32_t, TupleSet>& intervals, const TupleSet& all) {
  const Window high{112, 10}, within{128 - PS_NODE_BITS, PS_NODE_BITS};
  const uint32_t cell = 1u << (128 - high.end());
  begin(high.bits);
  auto at = intervals.begin();
  for (uint32_t start = 0; start < 65536; start += cell) {
    while (std::next(at) != intervals.end() && std::next(at)->first <= start) ++at;
    Intervals parts{{start & PS_NODE_KEY_MAX, at->second}};
    for (auto next = std::next(at); next != intervals.end() && next->first < start + cell; ++next)
      parts.push_back({next->first & PS_NODE_KEY_MAX, next->second});
    uint32_t value;
    if (parts.size() > 1) {
      const uint32_t line = allocate(1);
      node(line, parts, 0, parts.size(), within, 0);
      value = PS_ROOT_NODE | line;
    } else {
      value = class_of(at->second);
    }
    root(start / cell, value);
  }
  return finish(high, all);
}

ps_class_field FieldTables::services(const std::vector<TupleSet>& values, const TupleSet& all) {
  const Window w{128 - 9, 9};
  begin(w.bits);
  for (uint32_t i = 0; i < values.size(); ++i) root(i, class_of(values[i]));
  return finish(w, all);
}

}  // namespace penstock
