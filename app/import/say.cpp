#include "app/import/say.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/config/types.h"

namespace penstock::foreign {
namespace {

constexpr size_t most_inline = 16;   // prefixes within a rule; more become a set
constexpr size_t most_rules = 16;    // that one line becomes
constexpr size_t most_words = 512;   // in a list of numbers

using Words = std::vector<std::string>;

std::string list_of(const Words& words, bool negated) {
  if (words.size() == 1) return scalar(negated ? "!" + words.front() : words.front());
  Words quoted;
  for (const std::string& w : words) quoted.push_back(scalar(w));
  const std::string list = fmt::format("[{}]", fmt::join(quoted, ", "));
  return negated ? fmt::format("{{ not: {} }}", list) : list;
}

Words words_of(const Ranges& addresses) {
  Words out;
  for (const Prefix& p : prefixes_of(addresses)) out.push_back(p.text());
  return out;
}

// "" for any address.
std::string say_addresses(const Ranges& all, const std::string& set, Vocabulary& words, const std::string& name) {
  const Ranges wanted = all | words.indifferent;
  if (wanted == Ranges(0, most_address)) return "";
  if (NamedSet* named = words.find(set)) {
    const auto same = [&](const Ranges& r) {
      const bool equal = (r | words.indifferent) == wanted;
      named->used |= equal;
      return equal;
    };
    if (same(named->addresses)) return scalar(named->name);
    if (same(named->addresses.complement(most_address))) return list_of({named->name}, true);
    if (same(all_v4().without(named->addresses))) return list_of({named->name, "::/0"}, true);
    if (same(all_v6().without(named->addresses))) return list_of({named->name, "0.0.0.0/0"}, true);
  }
  const Ranges inside = all.without(words.indifferent), outside = wanted.complement(most_address);
  bool negated = outside.list().size() < inside.list().size();
  // A range is at least a prefix, so longer lists need not be cut to know that they are too long.
  if (std::min(inside.list().size(), outside.list().size()) <= most_inline) {
    const Words in = words_of(inside), out = words_of(outside);
    negated = out.size() < in.size();
    const Words& shorter = negated ? out : in;
    if (shorter.size() <= most_inline) return list_of(shorter, negated);
  }
  const Ranges& content = negated ? outside : inside;
  for (NamedSet& s : words.sets) {
    if (s.addresses != content) continue;
    s.used = true;
    return list_of({s.name}, negated);
  }
  std::string fresh = name;
  for (unsigned i = 2; words.find(fresh); ++i) fresh = fmt::format("{}-{}", name, i);
  words.sets.push_back({fresh, content, true});
  return list_of({fresh}, negated);
}

Words number_words(const Ranges& ranges, bool ranges_allowed = true) {
  Words out;
  for (const Range& r : ranges.list()) {
    const uint64_t first = static_cast<uint64_t>(r.first), last = static_cast<uint64_t>(r.last);
    if (first == last)
      out.push_back(std::to_string(first));
    else if (ranges_allowed)
      out.push_back(fmt::format("{}-{}", first, last));
    else
      for (uint64_t v = first; v <= last; ++v) out.push_back(std::to_string(v));
  }
  return out;
}

// The numbers, or the numbers that it is not: what is shorter.
std::string say_numbers(const Ranges& ranges, Field field, bool ranges_allowed, bool negation_allowed) {
  const Words in = number_words(ranges, ranges_allowed), out = number_words(ranges.complement(most_of(field)), ranges_allowed);
  return negation_allowed && out.size() < in.size() ? list_of(out, true) : list_of(in, false);
}

std::string mac_text(Value mac) {
  std::string out;
  for (int shift = 40; shift >= 0; shift -= 8) out += fmt::format("{}{:02x}", out.empty() ? "" : ":", static_cast<unsigned>(mac >> shift & 255));
  return out;
}

// Addresses one by one; nothing when there are too many.
Words mac_words(const Ranges& ranges) {
  Words out;
  if (ranges.count() > most_words) return out;
  for (const Range& r : ranges.list())
    for (Value v = r.first; v <= r.last; ++v) out.push_back(mac_text(v));
  return out;
}

constexpr std::array flag_names{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"};

// All bytes whose bits in `mask` are `value`, and whether they are in `wanted`: all, none, or some.
int part_of(const Ranges& wanted, unsigned mask, unsigned value) {
  bool in = false, out = false;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if ((byte & mask) != value) continue;
    (wanted.contains(byte) ? in : out) = true;
  }
  return in && out ? 0 : in ? 1 : -1;
}

// Splits a set of flag bytes into "these set, those clear", as few as a greedy hand finds.
void cut_flags(const Ranges& wanted, unsigned mask, unsigned value, std::vector<std::string>& out) {
  const int part = part_of(wanted, mask, value);
  if (part < 0) return;
  if (part > 0) {
    Words words;
    for (unsigned bit = 0; bit < 8; ++bit)
      if (mask >> bit & 1) words.push_back(fmt::format("{}{}", value >> bit & 1 ? "" : "!", flag_names[bit]));
    out.push_back(mask == 23 && value == 2 ? "syn" : list_of(words, false));
    if (words.size() == 1 && out.back() == "syn") out.back() = "[syn]";  // the word alone means more
    return;
  }
  unsigned best = 8;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if (mask >> bit & 1) continue;
    const int clear = part_of(wanted, mask | 1u << bit, value), set = part_of(wanted, mask | 1u << bit, value | 1u << bit);
    if (clear || set) best = bit;
    if (clear && set) break;
    bool depends = false;  // else the bit decides nothing
    for (unsigned byte = 0; byte < 256; ++byte)
      depends |= (byte & mask) == value && wanted.contains(byte) != wanted.contains(byte ^ 1u << bit);
    if (depends && best == 8) best = bit;
  }
  cut_flags(wanted, mask | 1u << best, value | 1u << best, out);
  cut_flags(wanted, mask | 1u << best, value, out);
}

std::vector<std::string> say_flags(const Ranges& flags) {
  std::vector<Range> answers;
  for (unsigned byte = 0; byte < 256; ++byte)
    if (byte & (16 | 4)) answers.push_back({byte, byte});
  if (flags == Ranges(std::move(answers))) return {"established"};
  std::vector<std::string> out;
  cut_flags(flags, 0, 0, out);
  return out;
}

Words icmp_words(const Ranges& icmp) {
  Words out;
  for (unsigned type = 0; type < 256; ++type) {
    const Ranges codes = icmp & Ranges(type * 256, type * 256 + 255);
    if (codes.count() == 256) {
      out.push_back(std::to_string(type));
      continue;
    }
    for (const Range& r : codes.list())
      for (Value v = r.first; v <= r.last; ++v) out.push_back(fmt::format("{}/{}", type, static_cast<unsigned>(v & 255)));
  }
  return out;
}

constexpr std::pair<unsigned, const char*> protocols[] = {{6, "tcp"}, {17, "udp"}, {1, "icmp"}, {58, "icmpv6"}, {132, "sctp"}, {47, "gre"}, {50, "esp"}, {51, "ah"}};

std::string protocol_word(unsigned number) {
  for (const auto& [n, name] : protocols)
    if (n == number) return name;
  return std::to_string(number);
}

std::vector<std::string> fragment_words(const Ranges& fragment) {
  if (fragment == Ranges(first_fragment, later_fragment)) return {"any"};
  std::vector<std::string> out;
  constexpr const char* names[] = {"none", "first", "later"};
  for (const Range& r : fragment.list())
    for (Value v = r.first; v <= r.last; ++v) out.emplace_back(names[static_cast<unsigned>(v)]);
  return out;
}

// Each value of `key` in a rule of its own.
void split(std::vector<Keys>& rules, const std::string& key, const std::vector<std::string>& values) {
  std::vector<Keys> out;
  for (const Keys& keys : rules)
    for (const std::string& value : values) {
      out.push_back(keys);
      out.back().emplace_back(key, value);
    }
  rules = std::move(out);
}

}  // namespace

NamedSet* Vocabulary::find(const std::string& name) {
  const auto at = std::ranges::find(sets, name, &NamedSet::name);
  return name.empty() || at == sets.end() ? nullptr : &*at;
}

std::string scalar(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./*") == text.npos &&
                     text.front() != '-' && text.front() != '*' && text != "null" && text != "true" && text != "false";
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string name_from(const std::string& text, size_t most) {
  std::string out;
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool good = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '_' || lower == '.';
    if (good)
      out += lower;
    else if (!out.empty() && out.back() != '-')
      out += '-';
    if (out.size() == most) break;
  }
  out.erase(0, std::min(out.find_first_not_of("-_."), out.size()));
  while (out.ends_with('-')) out.pop_back();
  return out;
}

std::string set_name_from(const std::string& text, const std::vector<std::string>& taken) {
  std::string base = name_from(text);
  const bool clear = !base.empty() && base.front() >= 'a' && base != "any" && base.find('.') == base.npos && !looks_like_address(base);
  if (!clear) base = name_from(base.empty() ? "set" : "set-" + base);
  std::ranges::replace(base, '.', '-');
  std::string name = base;
  for (unsigned i = 2; std::ranges::find(taken, name) != taken.end(); ++i) name = fmt::format("{}-{}", base, i);
  return name;
}

std::expected<std::vector<Keys>, Unsayable> say(const Box& box, Vocabulary& words, const std::string& name) {
  const auto unsayable = [](std::string reason, std::string hint = {}) { return std::unexpected(Unsayable{std::move(reason), std::move(hint)}); };
  std::vector<Keys> rules(1);
  const auto every = [&](const std::string& key, const std::string& value) { split(rules, key, {value}); };
  if (const Ranges* devices = box.find(Field::device)) {
    Words names;
    for (size_t i = 0; i < words.interfaces.size(); ++i)
      if (devices->contains(i)) names.push_back(words.interfaces[i]);
    if (names.size() < words.interfaces.size()) every("interface", list_of(names, false));
  }
  const Ranges source = box.get(Field::from), destination = box.get(Field::to);
  std::string from = say_addresses(source, box.from_set, words, name + "-from");
  std::string to = say_addresses(destination, box.to_set, words, name + "-to");
  // One family is said once: by the other address, or by ICMP's types.
  for (const Ranges* family : {&all_v4(), &all_v6()}) {
    const auto within = [&](const Ranges& r, const std::string& set) { return set.empty() && !r.empty() && r.without(*family).empty(); };
    const bool icmp = box.find(Field::icmp) && box.get(Field::proto) == Ranges(family == &all_v4() ? 1 : 58, family == &all_v4() ? 1 : 58);
    if (source == *family && box.from_set.empty() && ((within(destination, box.to_set) && !to.empty()) || icmp)) from.clear();
    if (destination == *family && box.to_set.empty() && ((within(source, box.from_set) && !from.empty()) || icmp)) to.clear();
  }
  if (!from.empty()) every("from", from);
  if (!to.empty()) every("to", to);
  const Ranges* proto = box.find(Field::proto);
  const auto only = [&](std::initializer_list<unsigned> protos) {
    return proto && std::ranges::all_of(proto->list(), [&](const Range& r) { return r.first == r.last && std::ranges::find(protos, r.first) != protos.end(); });
  };
  if (proto) {
    if (proto->count() > most_rules) return unsayable("a rule names one protocol, and this would need all but a few", "name the protocols that are meant");
    std::vector<std::string> names;
    for (const Range& r : proto->list())
      for (Value v = r.first; v <= r.last; ++v) names.push_back(protocol_word(static_cast<unsigned>(v)));
    split(rules, "proto", names);
  }
  for (const auto& [field, key] : {std::pair{Field::from_port, "from-port"}, {Field::to_port, "to-port"}}) {
    const Ranges* ports = box.find(field);
    if (!ports) continue;
    if (!only({6, 17})) return unsayable("ports are read of TCP and UDP only", "name one of these protocols in the rule");
    every(key, say_numbers(*ports, field, true, true));
  }
  if (const Ranges* flags = box.find(Field::flags)) {
    if (!only({6})) return unsayable("TCP flags without the protocol TCP");
    split(rules, "flags", say_flags(*flags));
  }
  if (const Ranges* icmp = box.find(Field::icmp)) {
    if (!only({1}) && !only({58})) return unsayable("ICMP types of more than one protocol");
    const Words kinds = icmp_words(*icmp);
    if (kinds.size() > most_words) return unsayable("too many ICMP types and codes for one rule");
    every("icmp", list_of(kinds, false));
  }
  if (const Ranges* mac = box.find(Field::mac)) {
    const Words in = mac_words(*mac), out = mac_words(mac->complement(most_of(Field::mac)));
    if (in.empty() && out.empty()) return unsayable("a range of MAC addresses", "list them one by one");
    every("mac", in.empty() ? list_of(out, true) : list_of(in, false));
  }
  if (const Ranges* vlan = box.find(Field::vlan)) {
    if (*vlan == Ranges(0, no_vlan_tag - 1)) every("vlan", "any");
    else if (*vlan == Ranges(no_vlan_tag, no_vlan_tag)) every("vlan", "none");
    else if (vlan->contains(no_vlan_tag)) every("vlan", list_of(number_words(vlan->complement(no_vlan_tag)), true));
    else every("vlan", list_of(number_words(*vlan), false));
  }
  if (const Ranges* dscp = box.find(Field::dscp)) every("dscp", say_numbers(*dscp, Field::dscp, false, true));
  if (const Ranges* ttl = box.find(Field::ttl)) every("ttl", say_numbers(*ttl, Field::ttl, true, false));
  if (const Ranges* length = box.find(Field::length)) every("length", say_numbers(*length, Field::length, true, false));
  if (const Ranges* fragment = box.find(Field::fragment)) split(rules, "fragment", fragment_words(*fragment));
  if (const Ranges* options = box.find(Field::options)) every("options", options->contains(1) ? "present" : "absent");
  if (const Ranges* socket = box.find(Field::socket)) {
    if (!socket->contains(1)) return unsayable("packets that no socket owns");
    every("socket", "yes");
  }
  if (box.find(Field::state))
    return unsayable("it asks for the state of a connection, and penstock keeps none",
                     "`flags: established` and `socket: yes` come near: see --approximate-state; or leave this rule to the original firewall behind penstock");
  if (rules.size() > most_rules) return unsayable("it would take more than 16 rules");
  return rules;
}

}  // namespace penstock::foreign
