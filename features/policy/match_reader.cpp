#include "features/policy/match_reader.h"

#include <fmt/format.h>

namespace penstock {

bool read_match(Decoder& d, const Node& node, bool& negate, const ItemReader& item) {
  if (node.kind == Node::Kind::map) {
    if (node.entries() != 1 || node.key(0).text != "not") return d.error(node, "expected a word, a list or `{ not: ... }`", "the only key here is `not`");
    if (node.value(0).kind == Node::Kind::map) return d.error(node.value(0), "a negation of a negation", "write what is meant without `not`");
    bool again = false;
    negate = true;
    return read_match(d, node.value(0), again, item) && (!again || d.error(node.value(0), "a negation of a negation", "write what is meant without `not` and `!`"));
  }
  if (node.kind == Node::Kind::scalar) {
    if (!node.text.starts_with('!')) return item(d, node);
    negate = true;
    Node rest = node;
    rest.text.erase(0, 1);
    return item(d, rest);
  }
  if (node.items.empty()) return d.error(node, "an empty list matches nothing", "name something, or remove the key");
  bool good = true;
  for (const Node& one : node.items) {
    if (one.kind != Node::Kind::scalar)
      good = d.error(one, "expected a word in this list");
    else if (one.text.starts_with('!'))
      good = d.error(one, "`!` inside a list is ambiguous", "negate the whole list: { not: [a, b] }");
    else
      good = item(d, one) && good;
  }
  return good;
}

nlohmann::ordered_json match_schema(const nlohmann::ordered_json& item) {
  const nlohmann::ordered_json words{{"anyOf", {item, {{"type", "array"}, {"items", item}, {"minItems", 1}}}}};
  nlohmann::ordered_json negation{{"type", "object"}, {"required", nlohmann::ordered_json::array({"not"})}, {"additionalProperties", false}};
  negation["properties"]["not"] = words;
  return {{"anyOf", {words, negation}}};
}

bool read_range(Decoder& d, const Node& node, uint16_t most, std::vector<NumberRange>& out) {
  const size_t dash = node.text.find('-');
  const std::string_view text = node.text;
  uint64_t first = 0, last = 0;
  if (!decode_number(d, node, text.substr(0, dash), 0, most, first)) return false;
  last = first;
  if (dash != std::string::npos && !decode_number(d, node, text.substr(dash + 1), 0, most, last)) return false;
  if (last < first) return d.error(node, fmt::format("`{}` runs backwards", node.text), fmt::format("did you mean `{}-{}`?", last, first));
  out.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  return true;
}

bool finish_ranges(Decoder& d, const Node& node, uint16_t most, std::string_view what, NumberMatch& match) {
  merge(match.ranges);
  if (match.negate && match.ranges.front() == NumberRange{0, most})
    return d.error(node, fmt::format("matches no {} at all", what), "remove the rule, or the negation");
  return true;
}

}  // namespace penstock
