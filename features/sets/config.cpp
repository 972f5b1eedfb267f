#include "features/sets/config.h"

#include <fmt/format.h>

#include "features/sets/decode.h"
#include "features/sets/set_file.h"

namespace penstock {
namespace {

bool has_key(const Node& node, std::string_view name) {
  for (size_t i = 0; i < node.entries(); ++i)
    if (node.key(i).text == name) return true;
  return false;
}

bool load(Decoder& d, Set& set) {
  set.file = d.resolve_path(set.file);
  set.read_from = d.path_to_read(set.name, set.file);
  auto prefixes = read_set_file(set.read_from);
  if (!prefixes) {
    Diagnostic found = std::move(prefixes).error().diagnostics.front();
    if (found.at.line == 0) return d.error(set.file_at, fmt::format("the file of the set `{}` {}", set.name, found.message), found.hint);
    found.detail.push_back(fmt::format("the file of the set `{}`, named at {}", set.name, set.file_at.text()));
    return d.error(std::move(found));
  }
  set.prefixes = std::move(*prefixes);
  return true;
}

// A port number, or "first-last".
Type<NumberRange> port_range_type() {
  const nlohmann::ordered_json number{{"type", "integer"}, {"minimum", 0}, {"maximum", 65535}};
  const nlohmann::ordered_json text{{"type", "string"}, {"pattern", "^[0-9]{1,5}(-[0-9]{1,5})?$"}};
  return {{"port or \"first-last\"", {{"anyOf", {number, text}}}}, [](Decoder& d, const Node& node, NumberRange& out) {
            if (!expect_scalar(d, node, "a port or `first-last`")) return false;
            const std::string_view text = node.text;
            const size_t dash = text.find('-');
            uint64_t first = 0, last = 0;
            if (!decode_number(d, node, text.substr(0, dash), 0, 65535, first)) return false;
            last = first;
            if (dash != std::string_view::npos && !decode_number(d, node, text.substr(dash + 1), 0, 65535, last)) return false;
            if (last < first) return d.error(node, fmt::format("`{}` runs backwards", text), fmt::format("did you mean `{}-{}`?", last, first));
            out = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
            return true;
          }};
}

// A set of ports is another kind of thing: only `from-port` and `to-port` may name it.
bool check_ports(Decoder& d, const Node& node, Set& set) {
  for (const char* other : {"prefixes", "file", "counters"})
    if (has_key(node, other))
      return d.error(set.at, fmt::format("the set `{}` has both `ports` and `{}`", set.name, other), "a set is of ports or of prefixes: make two");
  if (set.name.find_first_not_of("0123456789-") == std::string::npos)
    return d.error(set.at, fmt::format("`{}` cannot name a set of ports: in a rule it means the port", set.name), "use another name");
  if (set.ports.empty()) return d.error(set.at, fmt::format("the set of ports `{}` is empty", set.name), "name a port; a rule without ports needs no set");
  merge(set.ports);
  d.redefine("set", "port set", set.name);
  return true;
}

bool check(Decoder& d, const Node& node, Set& set) {
  // Rules name sets and prefixes in one place: a name must not be either word.
  if (set.name == "any" || looks_like_address(set.name))
    return d.error(set.at, fmt::format("`{}` cannot name a set: in a rule it means something else", set.name), "use another name");
  const bool inline_list = has_key(node, "prefixes"), from_file = has_key(node, "file");
  if (has_key(node, "ports")) return check_ports(d, node, set);
  if (inline_list == from_file)
    return d.error(set.at, fmt::format("the set `{}` has {}", set.name, inline_list ? "both `prefixes` and `file`" : "neither `prefixes` nor `file`"),
                   inline_list ? "keep one of them" : "for a set that is filled at run time write `prefixes: []`");
  if (from_file && !load(d, set)) return false;
  normalize(set.prefixes);
  if (set.prefixes.empty()) d.mark_empty("set", set.name);
  return true;
}

Keys<Set> keys() {
  return Keys<Set>("set", "A named list of addresses and prefixes, IPv4 and IPv6 mixed; a million is normal.  Duplicates are merged.  With `ports` a list of ports.")
      .optional("prefixes", list_of(prefix_type()), &Set::prefixes,
                {"The elements.  Either this or `file`; an empty list makes a set that is filled at run time.", "[203.0.113.0/28, \"2001:db8:1::/64\"]"})
      .optional("file", string_type("path"), &Set::file,
                {"A file with one address or prefix a line; `#` begins a comment.  A relative path starts at the folder of this file.", "badnets.txt"})
      .located(&Set::file_at)
      .optional("ports", list_of(port_range_type()), &Set::ports,
                {"Makes this a set of ports, for `from-port` and `to-port`, in the place of prefixes.", "[22, \"8000-8099\"]"})
      .optional("counters", yes_no_type(), &Set::counters, "no", {"Whether hits are counted for each element.", "yes"})
      .unbuilt({"url", "refresh", "lifetime", "countries", "asns", "exclude"})
      .check(check);
}

}  // namespace

Type<std::vector<Set>> sets_type() { return named_map_of<Set>("set", keys(), Decoder::Unused::warn); }

}  // namespace penstock
