#include "features/policy/matches.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/net/names.h"
#include "features/policy/match_reader.h"

namespace penstock {
namespace {

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
  constexpr uint16_t most = 65535;
  if (node.text.find_first_not_of("0123456789-") == std::string::npos || !is_name(node.text)) return read_range(d, node, most, out.ranges);
  d.refer("port set", node.text, node);
  out.sets.push_back(node.text);
  return true;
}

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
  nlohmann::ordered_json text{{"type", "string"}, {"pattern", "^!?([0-9]{1,5}(-[0-9]{1,5})?|[a-z0-9][a-z0-9_.-]*)$"}};
  Shape shape{"port, \"first-last\", a set of ports, a list of them, or `{ not: ... }`", match_schema({{"anyOf", {number, text}}})};
  return {shape, [](Decoder& d, const Node& node, PortMatch& out) {
            out = {};
            if (!read_match(d, node, out.negate, [&out](Decoder& dec, const Node& item) { return read_ports(dec, item, out); })) return false;
            return out.ranges.empty() || finish_ranges(d, node, 65535, "port", out);
          }};
}

Type<uint8_t> proto_type() {
  Shape shape{"protocol name or number", {{"anyOf", {{{"type", "integer"}, {"minimum", 0}, {"maximum", 255}}, {{"type", "string"}}}}}};
  std::vector<std::string> names;
  for (const NamedNumber& p : protocol_names()) {
    shape.words.push_back({std::string(p.name), fmt::format("protocol {}", p.number)});
    names.emplace_back(p.name);
  }
  shape.schema["anyOf"][1] = {{"enum", names}};
  return {shape, [names](Decoder& d, const Node& node, uint8_t& out) {
            if (!expect_scalar(d, node, "a protocol")) return false;
            if (const auto number = number_of(protocol_names(), node.text)) {
              out = *number;
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
