// The matches on what a header says beyond addresses, protocol and ports.
#include <fmt/format.h>

#include <algorithm>

#include "core/net/names.h"
#include "features/policy/match_reader.h"
#include "features/policy/matches.h"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint8_t flag_fin = 1, flag_syn = 2, flag_rst = 4, flag_ack = 16;

Json one_or_list(const Json& item) { return {{"anyOf", {item, {{"type", "array"}, {"items", item}, {"minItems", 1}}}}}; }

// Numbers from 0 to `most`, with names for some of them.
Type<NumberMatch> named_numbers(std::string what, uint16_t most, std::string text, std::vector<Word> words,
                                std::function<bool(std::string_view, NumberRange&)> named) {
  const uint16_t shown = most == no_vlan ? no_vlan - 1 : most;  // no_vlan has a name only
  Json string{{"type", "string"}, {"minLength", 1}};
  Json number{{"type", "integer"}, {"minimum", 0}, {"maximum", shown}};
  Shape shape{std::move(text), match_schema({{"anyOf", {number, string}}}), words};
  std::vector<std::string> names;
  for (const Word& word : words) names.push_back(word.name);
  return {shape, [=](Decoder& d, const Node& node, NumberMatch& out) {
            out = {};
            const auto item = [&](Decoder& dec, const Node& one) {
              NumberRange range;
              if (named && named(one.text, range)) {
                out.ranges.push_back(range);
                return true;
              }
              if (!names.empty() && one.text.find_first_not_of("0123456789-") != std::string::npos)
                return dec.error(one, fmt::format("unknown {} `{}`", what, one.text), did_you_mean(one.text, names));
              return read_range(dec, one, shown, out.ranges);
            };
            return read_match(d, node, out.negate, item) && finish_ranges(d, node, most, what, out);
          }};
}

bool read_flag(Decoder& d, const Node& node, FlagsMatch& out) {
  const bool clear = node.text.starts_with('!');
  const std::string name = node.text.substr(clear ? 1 : 0);
  const auto bit = number_of(tcp_flag_names(), name);
  if (!bit) return d.error(node, fmt::format("unknown TCP flag `{}`", name), suggest(name, names_of(tcp_flag_names())));
  if ((clear ? out.set : out.clear) & *bit)
    return d.error(node, fmt::format("`{}` cannot be both set and clear", name), "keep one of them");
  (clear ? out.clear : out.set) |= *bit;
  return true;
}

bool read_icmp(Decoder& d, const Node& node, IcmpMatch& out) {
  bool known = false;
  std::vector<std::string> names;
  for (const IcmpName& n : icmp_names()) {
    names.emplace_back(n.name);
    if (n.name != node.text) continue;
    out.kinds.push_back({n.v6, n.type, n.code});
    known = true;
  }
  if (known) return true;
  if (node.text.find_first_not_of("0123456789/") != std::string::npos) {
    names.erase(std::ranges::unique(names).begin(), names.end());
    return d.error(node, fmt::format("unknown ICMP type `{}`", node.text), did_you_mean(node.text, names));
  }
  const size_t slash = node.text.find('/');
  const std::string_view text = node.text;
  uint64_t type = 0, code = 0;
  if (!decode_number(d, node, text.substr(0, slash), 0, 255, type)) return false;
  if (slash != std::string::npos && !decode_number(d, node, text.substr(slash + 1), 0, 255, code)) return false;
  for (const bool v6 : {false, true})
    out.kinds.push_back({v6, static_cast<uint8_t>(type), slash == std::string::npos ? std::nullopt : std::optional(static_cast<uint8_t>(code))});
  out.by_number = true;
  return true;
}

}  // namespace

Type<FlagsMatch> flags_match_type() {
  Json flag{{"type", "string"}, {"pattern", "^!?(fin|syn|rst|psh|ack|urg|ece|cwr)$"}};
  Shape shape{"syn | established | a flag, or a list of flags", one_or_list({{"anyOf", {flag, {{"const", "established"}}}}}),
              {{"syn", "a new connection: SYN is set, and neither ACK, RST nor FIN"}, {"established", "ACK or RST is set"}}};
  return {shape, [](Decoder& d, const Node& node, FlagsMatch& out) {
            out = {};
            if (node.kind == Node::Kind::scalar) {
              if (node.text == "syn")
                out = {flag_syn, flag_ack | flag_rst | flag_fin, 0};
              else if (node.text == "established")
                out.one_of = flag_ack | flag_rst;
              else
                return read_flag(d, node, out);
              return true;
            }
            if (node.kind != Node::Kind::list) return d.error(node, "expected `syn`, `established` or a list of flags", "a flag that must be clear is written \"!ack\"");
            if (node.items.empty()) return d.error(node, "an empty list asks for no flag", "name one, or remove the key");
            bool good = true;
            for (const Node& one : node.items) {
              if (one.text == "established")
                good = d.error(one, "`established` stands alone", "write `flags: established`");
              else
                good = expect_scalar(d, one, "a TCP flag") && read_flag(d, one, out) && good;
            }
            return good;
          }};
}

Type<IcmpMatch> icmp_match_type() {
  std::vector<std::string> names;
  for (const IcmpName& n : icmp_names())
    if (names.empty() || names.back() != n.name) names.emplace_back(n.name);
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  Json number{{"type", "integer"}, {"minimum", 0}, {"maximum", 255}};
  Json text{{"type", "string"}, {"pattern", "^([0-9]{1,3}(/[0-9]{1,3})?|[a-z0-9-]+)$"}};
  Shape shape{"name, TYPE, \"TYPE/CODE\", or a list of them", one_or_list({{"anyOf", {number, {{"enum", names}}, text}}})};
  return {shape, [](Decoder& d, const Node& node, IcmpMatch& out) {
            out = {};
            if (node.kind == Node::Kind::scalar) return read_icmp(d, node, out);
            if (node.kind != Node::Kind::list) return d.error(node, "expected an ICMP type or a list of them");
            if (node.items.empty()) return d.error(node, "an empty list matches nothing", "name a type, or remove the key");
            bool good = true;
            for (const Node& one : node.items) good = expect_scalar(d, one, "an ICMP type") && read_icmp(d, one, out) && good;
            return good;
          }};
}

Type<NumberMatch> vlan_match_type() {
  return named_numbers("VLAN", no_vlan, "0-4095, \"first-last\", none, any, a list of them, or `{ not: ... }`",
                       {{"none", "frames without a tag"}, {"any", "frames with a tag"}}, [](std::string_view text, NumberRange& out) {
                         if (text == "none") out = {no_vlan, no_vlan};
                         if (text == "any") out = {0, no_vlan - 1};
                         return text == "none" || text == "any";
                       });
}

Type<NumberMatch> dscp_match_type() {
  std::vector<Word> words;
  for (const NamedNumber& n : dscp_names()) words.push_back({std::string(n.name), fmt::format("class {}", n.number)});
  return named_numbers("DSCP class", 63, "class name, 0-63, \"first-last\", a list of them, or `{ not: ... }`", std::move(words),
                       [](std::string_view text, NumberRange& out) {
                         const auto number = number_of(dscp_names(), text);
                         if (number) out = {*number, *number};
                         return number.has_value();
                       });
}

Type<NumberMatch> ttl_match_type() {
  return named_numbers("TTL", 255, "0-255, \"first-last\", a list of them, or `{ not: ... }`", {}, {});
}

Type<NumberMatch> length_match_type() {
  return named_numbers("length", 65535, "bytes, \"first-last\", a list of them, or `{ not: ... }`", {}, {});
}

Type<FragmentMatch> fragment_match_type() {
  return one_of<FragmentMatch>({{FragmentMatch::first, {"first", "the fragment that begins the datagram"}},
                                {FragmentMatch::later, {"later", "a fragment that does not: it has no ports"}},
                                {FragmentMatch::any, {"any", "a fragment"}},
                                {FragmentMatch::none, {"none", "a whole datagram"}}});
}

Type<OptionsMatch> options_match_type() {
  return one_of<OptionsMatch>({{OptionsMatch::present, {"present", "there are some"}}, {OptionsMatch::absent, {"absent", "there are none"}}});
}

Type<MacMatch> mac_match_type() {
  const Json item{{"type", "string"}, {"pattern", "^!?([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$"}};
  return {{"MAC address, a list of them, or `{ not: ... }`", match_schema(item)}, [](Decoder& d, const Node& node, MacMatch& out) {
            out = {};
            const auto read = [&](Decoder& dec, const Node& one) {
              const auto mac = Mac::parse(one.text);
              if (!mac) return dec.error(one, fmt::format("`{}` is no MAC address", one.text), "write it as 02:00:5e:10:00:01");
              out.addresses.push_back(*mac);
              return true;
            };
            if (!read_match(d, node, out.negate, read)) return false;
            std::ranges::sort(out.addresses);
            out.addresses.erase(std::ranges::unique(out.addresses).begin(), out.addresses.end());
            return true;
          }};
}

Type<InterfaceMatch> interface_match_type() {
  return {{"interface, a list of them, or `{ not: ... }`", match_schema({{"type", "string"}, {"minLength", 1}})},
          [](Decoder& d, const Node& node, InterfaceMatch& out) {
            out = {};
            const auto read = [&](Decoder& dec, const Node& one) {
              if (!is_name(one.text)) return dec.error(one, fmt::format("`{}` is no name of an interface", one.text));
              dec.refer("interface", one.text, one);
              out.names.push_back(one.text);
              return true;
            };
            if (!read_match(d, node, out.negate, read)) return false;
            std::ranges::sort(out.names);
            out.names.erase(std::ranges::unique(out.names).begin(), out.names.end());
            return true;
          }};
}

}  // namespace penstock
