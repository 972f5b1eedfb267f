#include "app/import/ruleset.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock::foreign {

Value most_of(Field field) {
  switch (field) {
    case Field::from:
    case Field::to: return most_address;
    case Field::from_port:
    case Field::to_port:
    case Field::icmp:
    case Field::length: return 65535;
    case Field::proto:
    case Field::flags:
    case Field::ttl: return 255;
    case Field::mac: return (Value{1} << 48) - 1;
    case Field::vlan: return no_vlan_tag;
    case Field::device:
    case Field::dscp: return 63;
    case Field::fragment: return later_fragment;
    case Field::state: return untracked_state;
    case Field::options:
    case Field::socket: return 1;
  }
  return 0;
}

const Ranges* Box::find(Field field) const {
  const auto at = std::ranges::find(fields_, field, &std::pair<Field, Ranges>::first);
  return at == fields_.end() ? nullptr : &at->second;
}

Ranges Box::get(Field field) const {
  const Ranges* ranges = find(field);
  return ranges ? *ranges : Ranges(0, most_of(field));
}

void Box::restrict(Field field, const Ranges& ranges) {
  const Ranges* now = find(field);
  set(field, now ? *now & ranges : ranges);
}

void Box::set(Field field, Ranges ranges) {
  const auto at = std::ranges::lower_bound(fields_, field, {}, &std::pair<Field, Ranges>::first);
  const bool there = at != fields_.end() && at->first == field;
  if (ranges == Ranges(0, most_of(field))) {
    if (there) fields_.erase(at);
  } else if (there) {
    at->second = std::move(ranges);
  } else {
    fields_.insert(at, {field, std::move(ranges)});
  }
}

bool Box::empty() const {
  return std::ranges::any_of(fields_, [this](const auto& field) {
    if (!field.second.empty()) return false;
    return !(field.first == Field::from && from_unfilled) && !(field.first == Field::to && to_unfilled);
  });
}

Box Box::operator&(const Box& other) const {
  Box out = *this;
  for (const auto& [field, ranges] : other.fields_) out.restrict(field, ranges);
  out.devices.insert(out.devices.end(), other.devices.begin(), other.devices.end());
  if (out.from_set.empty()) out.from_set = other.from_set;
  if (out.to_set.empty()) out.to_set = other.to_set;
  out.from_unfilled |= other.from_unfilled;
  out.to_unfilled |= other.to_unfilled;
  return out;
}

std::vector<Box> Box::without(const Box& other) const {
  std::vector<Box> out;
  Box rest = *this;
  for (const auto& [field, ranges] : other.fields_) {
    Box piece = rest;
    piece.restrict(field, ranges.complement(most_of(field)));
    if (!piece.empty()) out.push_back(std::move(piece));
    rest.restrict(field, ranges);
    if (rest.empty()) break;
  }
  return out;
}

std::string Place::where() const { return line ? fmt::format("{}:{}", file, line) : file; }

bool drops(Verdict verdict) { return verdict == Verdict::drop || verdict == Verdict::reject; }

Chain* Ruleset::find(const std::string& family, const std::string& table, const std::string& name) {
  const auto at = std::ranges::find_if(chains, [&](const Chain& c) { return c.name == name && c.table == table && c.family == family; });
  return at == chains.end() ? nullptr : &*at;
}

}  // namespace penstock::foreign
