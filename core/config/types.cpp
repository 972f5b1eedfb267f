#include "core/config/types.h"

#include <fmt/format.h>

#include "core/config/duration.h"

namespace penstock {

std::string plural(std::string_view noun) {
  if (noun.ends_with('y')) return std::string(noun.substr(0, noun.size() - 1)) + "ies";
  return std::string(noun) + "s";
}

bool is_name(std::string_view text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || text.size() > longest_name || !alphanumeric(text[0])) return false;
  for (char c : text)
    if (!alphanumeric(c) && c != '-' && c != '_' && c != '.') return false;
  return true;
}

bool looks_like_address(std::string_view text) {
  if (text.find_first_of(":/") != text.npos) return true;
  return text.find('.') != text.npos && text.find_first_not_of("0123456789.") == text.npos;
}

const char* kind_text(const Node& node) { return node.kind == Node::Kind::map ? "map" : node.kind == Node::Kind::list ? "list" : "word"; }

bool expect_scalar(Decoder& decoder, const Node& node, std::string_view what) {
  if (node.kind == Node::Kind::scalar) return true;
  return decoder.error(node, fmt::format("expected {}, not a {}", what, kind_text(node)));
}

std::string prefix_problem(const ParsedPrefix& parsed, std::string_view text, std::string& hint) {
  switch (parsed.error) {
    case PrefixError::none: return {};
    case PrefixError::host_bits:
      hint = fmt::format("did you mean `{}`?", parsed.prefix.text());
      return fmt::format("`{}` has host bits set", text);
    case PrefixError::length:
      hint = "a length is 0 to 32 for IPv4, 0 to 128 for IPv6, without leading zeros";
      return fmt::format("`{}` has no valid prefix length", text);
    case PrefixError::mapped:
      hint = "write IPv4 as IPv4: 192.0.2.1";
      return fmt::format("`{}` is IPv4 written as IPv6", text);
    case PrefixError::syntax: break;
  }
  hint = "write 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32";
  return fmt::format("`{}` is no address or prefix", text);
}

bool decode_prefix(Decoder& decoder, const Node& node, Prefix& out) {
  if (!expect_scalar(decoder, node, "a prefix")) return false;
  const ParsedPrefix parsed = parse_prefix(node.text);
  std::string hint;
  if (parsed.error != PrefixError::none) {
    std::string message = prefix_problem(parsed, node.text, hint);
    return decoder.error(node, std::move(message), std::move(hint));
  }
  out = parsed.prefix;
  return true;
}

bool decode_number(Decoder& decoder, const Node& node, std::string_view text, uint64_t least, uint64_t most, uint64_t& out) {
  const bool digits = !text.empty() && text.size() <= 19 && text.find_first_not_of("0123456789") == text.npos;
  if (digits && !(text.size() > 1 && text[0] == '0')) {
    uint64_t value = 0;
    for (char c : text) value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value >= least && value <= most) {
      out = value;
      return true;
    }
  }
  return decoder.error(node, fmt::format("`{}` is not a number from {} to {}", text, least, most));
}

bool check_map_name(Decoder& decoder, const Node& key, std::string_view kind) {
  if (is_name(key.text)) return true;
  return decoder.error(key, fmt::format("`{}` is no valid {} name", key.text, kind), fmt::format("a name begins with a-z or 0-9, then a-z, 0-9, `-`, `_`, `.`; at most {} characters", longest_name));
}

Type<std::string> string_type(std::string what) {
  return {{what, {{"type", "string"}, {"minLength", 1}}}, [what](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, what)) return false;
            if (node.text.empty()) return d.error(node, fmt::format("an empty string is no {}", what));
            out = node.text;
            return true;
          }};
}

Type<std::string> name_type(std::string what) {
  return {{"name", {{"type", "string"}, {"pattern", name_pattern}}}, [what = std::move(what)](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, "a name") || !check_map_name(d, node, what)) return false;
            out = node.text;
            return true;
          }};
}

Type<std::string> reference_type(std::string kind) {
  return {{kind + " name", {{"type", "string"}}}, [kind](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, kind + " name")) return false;
            d.refer(kind, node.text, node);
            out = node.text;
            return true;
          }};
}

Type<bool> yes_no_type() {
  // A YAML 1.1 reader hands a plain yes to a schema validator as a boolean, a YAML 1.2 reader as a string.
  return {{"yes | no", {{"enum", {true, false, "yes", "no", "true", "false"}}}, {{"yes", ""}, {"no", ""}}}, [](Decoder& d, const Node& node, bool& out) {
            if (!expect_scalar(d, node, "yes or no")) return false;
            out = node.text == "yes" || node.text == "true";
            if (out || node.text == "no" || node.text == "false") return true;
            return d.error(node, fmt::format("`{}` is neither yes nor no", node.text));
          }};
}

Type<uint32_t> number_type(uint32_t least, uint32_t most) {
  return {{fmt::format("number from {} to {}", least, most), {{"type", "integer"}, {"minimum", least}, {"maximum", most}}},
          [least, most](Decoder& d, const Node& node, uint32_t& out) {
            uint64_t value = 0;
            if (!expect_scalar(d, node, "a number") || !decode_number(d, node, node.text, least, most, value)) return false;
            out = static_cast<uint32_t>(value);
            return true;
          }};
}

Type<std::chrono::milliseconds> duration_type() {
  return {{"duration", {{"type", "string"}, {"pattern", "^([0-9]+(d|h|ms|m|s))+$"}}}, [](Decoder& d, const Node& node, std::chrono::milliseconds& out) {
            if (!expect_scalar(d, node, "a duration")) return false;
            const auto parsed = parse_duration(node.text);
            if (!parsed) return d.error(node, fmt::format("`{}` is no duration", node.text), "write it like 10ms, 5s or 1h30m");
            out = *parsed;
            return true;
          }};
}

Type<Rate> rate_type() {
  return {{"rate", {{"type", "string"}, {"pattern", "^[0-9]+([kMG]?(pps|/(s|sec|m|min|h|hour|d|day))|[kmgMG]?(bit|bit/s|B/s))$"}}}, [](Decoder& d, const Node& node, Rate& out) {
            if (!expect_scalar(d, node, "a rate")) return false;
            const auto rate = parse_rate(node.text);
            if (!rate) return d.error(node, fmt::format("`{}` is no rate", node.text), "write 100/s, 5/min, 10kpps, 50mbit or 10kB/s: from 1/d to 100Mpps, or from 1kbit to 1000gbit");
            out = *rate;
            return true;
          }};
}

Type<Prefix> prefix_type() { return {{"prefix", {{"type", "string"}}}, decode_prefix}; }

Type<Address> address_type() {
  return {{"address", {{"type", "string"}}}, [](Decoder& d, const Node& node, Address& out) {
            if (!expect_scalar(d, node, "an address")) return false;
            const auto parsed = Address::parse(node.text);
            if (!parsed) return d.error(node, fmt::format("`{}` is no address", node.text), "write 192.0.2.1 or 2001:db8::1");
            out = *parsed;
            return true;
          }};
}

}  // namespace penstock
