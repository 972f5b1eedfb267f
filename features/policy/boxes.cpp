#include "features/policy/boxes.h"

#include <algorithm>

namespace penstock {

void merge(Spans& spans) {
  std::ranges::sort(spans, {}, &Span::first);
  Spans out;
  for (const Span& s : spans) {
    if (!out.empty() && (s.first <= out.back().last || s.first == out.back().last + 1))
      out.back().last = std::max(out.back().last, s.last);
    else
      out.push_back(s);
  }
  spans = std::move(out);
}

Spans complement(const Spans& spans, Wide last) {
  Spans out;
  Wide next = 0;
  for (const Span& s : spans) {
    if (s.first > next) out.push_back({next, s.first - 1});
    if (s.last == last) return out;
    next = s.last + 1;
  }
  out.push_back({next, last});
  return out;
}

bool contains(const Spans& outer, const Spans& inner) {
  for (const Span& s : inner) {
    const auto after = std::ranges::upper_bound(outer, s.first, {}, &Span::first);
    if (after == outer.begin() || std::prev(after)->last < s.last) return false;
  }
  return true;
}

bool overlap(const Spans& a, const Spans& b) {
  const Spans& few = a.size() < b.size() ? a : b;
  const Spans& many = a.size() < b.size() ? b : a;
  return std::ranges::any_of(few, [&](const Span& s) {
    const auto after = std::ranges::upper_bound(many, s.last, {}, &Span::first);
    return after != many.begin() && std::prev(after)->last >= s.first;
  });
}

Spans common(const Spans& a, const Spans& b) {
  Spans out;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    const Span both{std::max(x->first, y->first), std::min(x->last, y->last)};
    if (both.first <= both.last) out.push_back(both);
    if (x->last < y->last)
      ++x;
    else
      ++y;
  }
  return out;
}

bool cut(std::vector<Box>& boxes, const Box& hole) {
  bool any = false;
  for (size_t i = boxes.size(); i-- > 0;) {
    const bool meets = std::ranges::equal(boxes[i], hole, [](const Span& a, const Span& b) { return a.first <= b.last && b.first <= a.last; });
    if (!meets) continue;
    any = true;
    Box rest = boxes[i];
    boxes[i] = boxes.back();
    boxes.pop_back();
    for (size_t side = 0; side < BOX_SIDES; ++side) {
      Box piece = rest;
      if (rest[side].first < hole[side].first) {
        piece[side].last = hole[side].first - 1;
        boxes.push_back(piece);
      }
      if (rest[side].last > hole[side].last) {
        piece[side] = {hole[side].last + 1, rest[side].last};
        boxes.push_back(piece);
      }
      rest[side] = {std::max(rest[side].first, hole[side].first), std::min(rest[side].last, hole[side].last)};
    }
  }
  return any;
}

}  // namespace penstock
