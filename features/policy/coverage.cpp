#include "features/policy/coverage.h"

#include <algorithm>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <tuple>

#include "features/policy/boxes.h"
#include "features/policy/rule_text.h"

namespace penstock {
namespace {

constexpr int families = 2;  // IPv4, IPv6
constexpr Wide last_address[families] = {0xffffffffu, ~Wide{0}};

// Bounds of the work, so that a file of any size is answered soon.  A unit is one comparison of two rules, or of boxes.
constexpr size_t most_comparisons = 400'000'000;
constexpr size_t most_cuts = 20'000;       // for one rule
constexpr size_t most_boxes = 256;         // that one rule may fall into

// The addresses of one match, by family.
struct Addresses {
  Spans spans[families];
};

struct Shape {
  const Rule* rule = nullptr;
  const Addresses* side[2] = {};        // source, destination
  Spans port[2];
  int protocol = -1;                    // -1: any
  bool ported = false;                  // never matches a later fragment or what has no ports
  bool live[families] = {};             // matches anything in this family
  bool decides = true;                  // a packet that matches goes no further: neither continue nor audit
  bool names[2] = {};                   // by side: names sets, which may gain elements at run time
  bool names_not[2] = {};               // negates them
  std::string others;                   // what is no factor here; empty: nothing
};

// Bounds of all that a rule matches, for a first look at many: the top 64 bits of addresses, left aligned.
struct Bounds {
  struct Range {
    uint64_t low = 1, high = 0;         // empty
    bool meets(const Range& other) const { return low <= other.high && other.low <= high; }
  };
  Range side[families][2];
  int protocol = -1;
};

uint64_t top(Wide address, int family) { return static_cast<uint64_t>(family == 0 ? address << 32 : address >> 64); }

class Shapes {
 public:
  explicit Shapes(const PrefixesOf& prefixes_of) : prefixes_of_(prefixes_of) {}

  Shape of(const Rule& rule) {
    Shape s;
    s.rule = &rule;
    s.protocol = rule.proto ? *rule.proto : -1;
    s.ported = rule.socket || !rule.flags.any() || !rule.from_port.any() || !rule.to_port.any();
    s.decides = !perhaps_goes_on(rule);
    s.side[0] = addresses(rule.from);
    s.side[1] = addresses(rule.to);
    s.port[0] = ports(rule.from_port);
    s.port[1] = ports(rule.to_port);
    const AddressMatch* matches[2] = {&rule.from, &rule.to};
    for (int side = 0; side < 2; ++side) (matches[side]->negate ? s.names_not : s.names)[side] = !matches[side]->sets.empty();
    s.others = others_of(rule);
    for (int f = 0; f < families; ++f) {
      const bool family_fits = !(s.protocol == IPPROTO_ICMP && f == 1) && !(s.protocol == IPPROTO_ICMPV6 && f == 0);
      s.live[f] = family_fits && !s.side[0]->spans[f].empty() && !s.side[1]->spans[f].empty() && !s.port[0].empty() && !s.port[1].empty();
    }
    return s;
  }

 private:
  // All that the rule asks for besides its factors, as text: a key that is not known here is in it by itself.
  static std::string others_of(const Rule& rule) {
    Rule rest = rule;
    rest.from = rest.to = {};
    rest.from_port = rest.to_port = {};
    rest.proto = {};
    rest.audit = rest.limited = false;
    rest.action = Action::accept;
    static const std::string nothing = rule_text(Rule{});
    std::string text = rule_text(rest);
    return text == nothing ? std::string() : text;
  }

  static Spans ports(const PortMatch& match) {
    if (match.any()) return {{0, 65535}};
    Spans out;
    for (const PortRange& r : match.ranges) out.push_back({r.first, r.last});
    merge(out);
    return match.negate ? complement(out, 65535) : out;
  }

  // The same match has the same addresses, found once.
  const Addresses* addresses(const AddressMatch& match) {
    const auto [entry, fresh] = known_.try_emplace(std::tuple(match.any, match.negate, match.prefixes, match.sets));
    if (!fresh) return entry->second.get();
    entry->second = std::make_unique<Addresses>();
    Addresses& out = *entry->second;
    if (match.any) {
      for (int f = 0; f < families; ++f) out.spans[f] = {{0, last_address[f]}};
      return &out;
    }
    add(match.prefixes, out);
    for (const std::string& set : match.sets)
      if (const auto* prefixes = prefixes_of_(set)) add(*prefixes, out);
    for (int f = 0; f < families; ++f) {
      merge(out.spans[f]);
      if (match.negate) out.spans[f] = complement(out.spans[f], last_address[f]);
    }
    return &out;
  }

  static void add(const std::vector<Prefix>& prefixes, Addresses& out) {
    for (const Prefix& p : prefixes) {
      const int f = p.is_v4() ? 0 : 1;
      const Wide first = f == 0 ? Wide{p.address.v4()} : Wide{p.address.hi} << 64 | p.address.lo;
      const unsigned free = (f == 0 ? 32 : 128) - p.family_length();
      const Wide size = free == 128 ? ~Wide{0} : (Wide{1} << free) - 1;
      out.spans[f].push_back({first, first | size});
    }
  }

  const PrefixesOf& prefixes_of_;
  std::map<std::tuple<bool, bool, std::vector<Prefix>, std::vector<std::string>>, std::unique_ptr<Addresses>> known_;
};

Bounds bounds_of(const Shape& s) {
  Bounds out;
  out.protocol = s.protocol;
  for (int f = 0; f < families; ++f)
    for (int side = 0; side < 2 && s.live[f]; ++side)
      out.side[f][side] = {top(s.side[side]->spans[f].front().first, f), top(s.side[side]->spans[f].back().last, f)};
  return out;
}

// Rules out most pairs.
bool may_meet(const Bounds& a, const Bounds& b) {
  for (int f = 0; f < families; ++f)
    if (a.side[f][1].meets(b.side[f][1]) && a.side[f][0].meets(b.side[f][0])) return a.protocol < 0 || b.protocol < 0 || a.protocol == b.protocol;
  return false;
}

bool ports_meet(const Shape& a, const Shape& b) { return overlap(a.port[0], b.port[0]) && overlap(a.port[1], b.port[1]); }

bool meets(const Shape& a, const Shape& b) {
  if (!ports_meet(a, b)) return false;
  for (int f = 0; f < families; ++f)
    if (a.live[f] && b.live[f] && overlap(a.side[1]->spans[f], b.side[1]->spans[f]) && overlap(a.side[0]->spans[f], b.side[0]->spans[f])) return true;
  return false;
}

// Of `rule` nothing is left behind `other`, whatever other keys say?  They must say the same, or `other` nothing.
bool asks_no_more(const Shape& other, const Shape& rule) { return other.others.empty() || other.others == rule.others; }

bool covers(const Shape& a, const Shape& b) {
  if (!asks_no_more(a, b) || (a.protocol >= 0 && a.protocol != b.protocol) || (a.ported && !b.ported)) return false;
  if (!contains(a.port[0], b.port[0]) || !contains(a.port[1], b.port[1])) return false;
  for (int f = 0; f < families; ++f) {
    if (!b.live[f]) continue;
    if (!a.live[f]) return false;
    for (int side = 1; side >= 0; --side)
      if (a.side[side] != b.side[side] && !contains(a.side[side]->spans[f], b.side[side]->spans[f])) return false;
  }
  return true;
}

// Would an element more in some set let `rule` match what `other` does not?
bool may_grow_apart(const Shape& other, const Shape& rule) {
  for (int side = 0; side < 2; ++side)
    if (other.side[side] != rule.side[side] && (rule.names[side] || other.names_not[side])) return true;
  return false;
}

// The boxes of a rule in one family, within the bounds of `whole`; nothing when they are too many.
std::optional<std::vector<Box>> boxes_of(const Shape& s, int family, const Shape& whole) {
  std::vector<Box> out;
  if (!s.live[family]) return out;
  Spans side[2];
  for (int i = 0; i < 2; ++i) {
    const Spans& mine = s.side[i]->spans[family];
    const Spans& bound = whole.side[i]->spans[family];
    if (mine.size() > 4096 || bound.size() > 4096) return {};
    side[i] = &s == &whole ? mine : common(mine, bound);
  }
  if (side[0].size() * side[1].size() * s.port[0].size() * s.port[1].size() > most_boxes) return {};
  const Span protocol = s.protocol < 0 ? Span{0, 255} : Span{static_cast<Wide>(s.protocol), static_cast<Wide>(s.protocol)};
  for (const Span& source : side[0])
    for (const Span& destination : side[1])
      for (const Span& source_port : s.port[0])
        for (const Span& destination_port : s.port[1])
          out.push_back({source, destination, source_port, destination_port, protocol, Span{0, s.ported ? 0u : 1u}});
  return out;
}

// The rules that together leave nothing of `rule`; empty: they may not.
std::vector<const Rule*> covered_by(const Shape& rule, const std::vector<const Shape*>& others, bool& as_sets_stand) {
  std::vector<const Rule*> by;
  size_t cuts = 0;
  for (int f = 0; f < families; ++f) {
    auto left = boxes_of(rule, f, rule);
    if (!left) return {};
    for (const Shape* other : others) {
      if (left->empty()) break;
      const auto holes = boxes_of(*other, f, rule);
      if (!holes) continue;
      bool took = false;
      for (const Box& hole : *holes) {
        cuts += left->size();
        took = cut(*left, hole) || took;
        if (cuts > most_cuts || left->size() > most_boxes) return {};
      }
      if (!took) continue;
      as_sets_stand = as_sets_stand || may_grow_apart(*other, rule);
      if (std::ranges::find(by, other->rule) == by.end()) by.push_back(other->rule);
    }
    if (!left->empty()) return {};
  }
  return by;
}

// A corner of the rule that none of the others matches: most rules have one, and are done with.
bool has_free_corner(const Shape& rule, const std::vector<const Shape*>& others) {
  for (int f = 0; f < families; ++f) {
    if (!rule.live[f]) continue;
    const Wide source = rule.side[0]->spans[f].front().first, destination = rule.side[1]->spans[f].back().last;
    const Wide ports[2] = {rule.port[0].back().last, rule.port[1].back().last};
    const auto holds = [](const Spans& spans, Wide x) {
      const auto after = std::ranges::upper_bound(spans, x, {}, &Span::first);
      return after != spans.begin() && std::prev(after)->last >= x;
    };
    const bool taken = std::ranges::any_of(others, [&](const Shape* o) {
      if (!o->live[f] || (o->ported && !rule.ported) || (o->protocol >= 0 && rule.protocol < 0)) return false;
      return holds(o->side[0]->spans[f], source) && holds(o->side[1]->spans[f], destination) && holds(o->port[0], ports[0]) && holds(o->port[1], ports[1]);
    });
    // Where others ask for protocols one by one this corner is not theirs: a protocol is free that none of them names, as
    // rules that name all 256 are nobody's.
    if (!taken) return true;
  }
  return false;
}

bool same_effect(const Rule& a, const Rule& b) { return (a.action == Action::accept) == (b.action == Action::accept); }

}  // namespace

Coverage find_coverage(const Policy& policy, const PrefixesOf& prefixes_of) {
  Coverage out;
  Shapes shapes(prefixes_of);
  std::vector<Shape> all;
  all.reserve(policy.rules.size());
  for (const Rule& rule : policy.rules) all.push_back(shapes.of(rule));
  std::vector<const Shape*> before;  // live ones that decide
  std::vector<Bounds> bounds;        // theirs
  size_t comparisons = 0;
  for (const Shape& shape : all) {
    if (comparisons > most_comparisons) break;
    ++out.compared;
    if (!shape.live[0] && !shape.live[1]) {
      if (!shape.names[0] && !shape.names[1])  // an empty set may be filled at run time
        out.never.push_back({shape.rule, {}, shape.names_not[0] || shape.names_not[1]});
      continue;
    }
    comparisons += before.size();
    std::vector<const Shape*> near;
    const Shape* cover = nullptr;
    const Bounds own = bounds_of(shape);
    for (size_t i = 0; i < before.size(); ++i) {
      if (!may_meet(bounds[i], own)) continue;
      const Shape* other = before[i];
      comparisons += 8;
      if (covers(*other, shape)) {
        cover = other;
        break;
      }
      if (asks_no_more(*other, shape) && meets(*other, shape)) near.push_back(other);
    }
    if (cover) {
      out.never.push_back({shape.rule, {cover->rule}, may_grow_apart(*cover, shape)});
      continue;  // what can never match need not be compared with
    }
    if (near.size() > 1 && !has_free_corner(shape, near)) {
      bool as_sets_stand = false;
      auto by = covered_by(shape, near, as_sets_stand);
      comparisons += most_cuts;
      if (!by.empty()) {
        out.never.push_back({shape.rule, std::move(by), as_sets_stand});
        continue;
      }
    }
    if (!shape.decides) continue;
    for (const Shape* other : near) {
      if (same_effect(*other->rule, *shape.rule) || other->others != shape.others || covers(shape, *other)) continue;
      ++out.pair_count;
      if (out.pairs.size() < most_pairs) out.pairs.push_back({other->rule, shape.rule});
    }
    before.push_back(&shape);
    bounds.push_back(own);
  }
  return out;
}

}  // namespace penstock
