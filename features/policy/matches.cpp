#include "features/policy/matches.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

namespace penstock {
namespace {

using ItemReader = std::function<bool(Decoder&, const Node&)>;

// Reads the words of a match and whether it is negated: x, [x, y], "!x", { not: x }, { not: [x, y] }.
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

bool read_address(Decoder& d, const Node& node, AddressMatch& out) {
  if (looks_like_address(node.text)) {
    Prefix prefix;
    if (!decode_prefix(d, node, prefix)) return false;
    out.prefixes.push_back(prefix);
    return true;
  }
  if (node.text == "any") return d.error(node, "`any` cannot be negated or stand in a list", "it matches every address: remove the rest, or the key");
  if (!is_name(node.text)) return d.error(node, fmt::format("`{}` is neither a prefix nor the name of a set", node.text));
  d.refer("set", node.text, node);
  out.sets.push_back(node.text);
  return true;
}

bool read_ports(Decoder& d, const Node& node, PortMatch& out) {
  const size_t dash = node.text.find('-');
  const std::string_view text = node.text;
  uint64_t first = 0, last = 0;
  constexpr uint64_t most = 65535;
  if (!decode_number(d, node, text.substr(0, dash), 0, most, first)) return false;
  last = first;
  if (dash != std::string::npos && !decode_number(d, node, text.substr(dash + 1), 0, most, last)) return false;
  if (last < first) return d.error(node, fmt::format("`{}` runs backwards", node.text), fmt::format("did you mean `{}-{}`?", last, first));
  out.ranges.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  return true;
}

// Sorted, disjoint, not adjacent.
void merge(std::vector<PortRange>& ranges) {
  std::ranges::sort(ranges);
  std::vector<PortRange> out;
  for (const PortRange& r : ranges) {
    if (!out.empty() && r.first <= out.back().last + 1u)
      out.back().last = std::max(out.back().last, r.last);
    else
      out.push_back(r);
  }
  ranges = std::move(out);
}

struct Protocol {
  const char* name;
  uint8_t number;
};
constexpr Protocol protocols[] = {{"tcp", IPPROTO_TCP},   {"udp", IPPROTO_UDP},       {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6},
                                  {"sctp", IPPROTO_SCTP}, {"gre", IPPROTO_GRE},       {"esp", IPPROTO_ESP},   {"ah", IPPROTO_AH},
                                  {"ipip", IPPROTO_IPIP}, {"ipv6", IPPROTO_IPV6},     {"igmp", IPPROTO_IGMP}, {"ospf", 89},
                                  {"pim", IPPROTO_PIM},   {"vrrp", 112},              {"l2tp", 115},          {"dccp", IPPROTO_DCCP},
                                  {"udplite", IPPROTO_UDPLITE}};

}  // namespace

Type<AddressMatch> address_match_type() {
  Shape shape{"`any`, a set, a prefix, a list of them, or `{ not: ... }`", match_schema({{"type", "string"}, {"minLength", 1}}), {{"any", "every address"}}};
  return {shape, [](Decoder& d, const Node& node, AddressMatch& out) {
            out = {};
            if (node.kind == Node::Kind::scalar && node.text == "any") return true;
            out.any = false;
            if (!read_match(d, node, out.negate, [&out](Decoder& dec, const Node& item) { return read_address(dec, item, out); })) return false;
            std::ranges::sort(out.prefixes);
            out.prefixes.erase(std::ranges::unique(out.prefixes).begin(), out.prefixes.end());
            return true;
          }};
}

Type<PortMatch> port_match_type() {
  nlohmann::ordered_json number{{"type", "integer"}, {"minimum", 0}, {"maximum", 65535}};
  nlohmann::ordered_json text{{"type", "string"}, {"pattern", "^!?[0-9]{1,5}(-[0-9]{1,5})?$"}};
  Shape shape{"port, \"first-last\", a list of them, or `{ not: ... }`", match_schema({{"anyOf", {number, text}}})};
  return {shape, [](Decoder& d, const Node& node, PortMatch& out) {
            out = {};
            if (!read_match(d, node, out.negate, [&out](Decoder& dec, const Node& item) { return read_ports(dec, item, out); })) return false;
            merge(out.ranges);
            if (out.negate && out.ranges.front() == PortRange{}) return d.error(node, "matches no port at all", "remove the rule, or the negation");
            return true;
          }};
}

Type<uint8_t> proto_type() {
  Shape shape{"protocol name or number", {{"anyOf", {{{"type", "integer"}, {"minimum", 0}, {"maximum", 255}}, {{"type", "string"}}}}}};
  std::vector<std::string> names;
  for (const Protocol& p : protocols) {
    shape.words.push_back({p.name, fmt::format("protocol {}", p.number)});
    names.push_back(p.name);
  }
  shape.schema["anyOf"][1] = {{"enum", names}};
  return {shape, [names](Decoder& d, const Node& node, uint8_t& out) {
            if (!expect_scalar(d, node, "a protocol")) return false;
            for (const Protocol& p : protocols) {
              if (node.text != p.name) continue;
              out = p.number;
              return true;
            }
            if (node.text.find_first_not_of("0123456789") != std::string::npos)
              return d.error(node, fmt::format("unknown protocol `{}`", node.text), suggest(node.text, names));
            uint64_t number = 0;
            if (!decode_number(d, node, node.text, 0, 255, number)) return false;
            out = static_cast<uint8_t>(number);
            return true;
          }};
}

}  // namespace penstock
