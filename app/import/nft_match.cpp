#include "app/import/nft_match.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "app/import/words.h"

namespace penstock::foreign {
namespace {

Unsayable refusal(std::string reason, std::string hint = {}) { return {std::move(reason), std::move(hint)}; }
std::unexpected<Unsayable> refuse(std::string reason, std::string hint = {}) { return std::unexpected(refusal(std::move(reason), std::move(hint))); }

std::string short_text(const NftJson& json) {
  std::string text = json.dump(-1, ' ', false, NftJson::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

// One element of a set may carry a lifetime, a comment, a counter around its value.
const NftJson& bare(const NftJson& value) {
  const NftJson* elem = member(value, "elem");
  const NftJson* val = elem ? member(*elem, "val") : nullptr;
  return val ? *val : value;
}

using Reader = std::function<std::optional<Ranges>(const NftJson&)>;   // of one word or number

std::string word_of(const NftJson& value) { return value.is_string() ? value.get<std::string>() : value.is_number_unsigned() ? std::to_string(value.get<uint64_t>()) : ""; }

Reader plain(uint64_t most) {
  return [most](const NftJson& value) -> std::optional<Ranges> {
    const auto n = number(word_of(value), most);
    return n ? std::optional(just(*n)) : std::nullopt;
  };
}

// What is on the left: a field, and what must hold for it to be there at all.
struct Subject {
  Field field = Field::from;
  Box needs;
  Reader read;
  bool device = false;       // the name of a device, not a number
  bool family = false;       // the field is the family: values are sets of source addresses
  bool bits = false;         // a list on the right is a union of bits, "in" asks for any of them
  Value shift = 0;           // added to what is read
};

Box family_box(bool v6) {
  Box box;
  box.restrict(Field::from, v6 ? all_v6() : all_v4());
  return box;
}

std::optional<Ranges> read_family(const NftJson& value) {
  const std::string word = word_of(value);
  if (word == "ipv4" || word == "ip" || word == "2" || word == "4") return all_v4();
  if (word == "ipv6" || word == "ip6" || word == "10" || word == "6") return all_v6();
  return std::nullopt;
}

std::optional<Ranges> read_protocol(const NftJson& value) {
  const auto n = protocol(word_of(value));
  return n ? std::optional(just(*n)) : std::nullopt;
}

std::optional<Ranges> read_flags(const NftJson& value) {
  const auto bits = tcp_flags(word_of(value));
  return bits ? std::optional(just(*bits)) : std::nullopt;
}

std::optional<Ranges> read_state(const NftJson& value) {
  const auto s = state(word_of(value));
  return s ? std::optional(just(*s)) : std::nullopt;
}

std::optional<Ranges> read_dscp(const NftJson& value) {
  const std::string word = word_of(value);
  const auto named = dscp_class(word);
  return named ? std::optional(just(*named)) : plain(63)(value);
}

std::optional<Ranges> read_mac(const NftJson& value) {
  const auto address = mac(word_of(value));
  return address ? std::optional(just(*address)) : std::nullopt;
}

// A code alone, of any type.
std::optional<Ranges> read_code(const NftJson& value, bool v6) {
  static const std::map<std::string, unsigned> v4_codes = {{"net-unreachable", 0}, {"host-unreachable", 1}, {"prot-unreachable", 2}, {"port-unreachable", 3}, {"frag-needed", 4},
                                                           {"net-prohibited", 9}, {"host-prohibited", 10}, {"admin-prohibited", 13}};
  static const std::map<std::string, unsigned> v6_codes = {{"no-route", 0}, {"admin-prohibited", 1}, {"addr-unreachable", 3}, {"port-unreachable", 4}, {"policy-fail", 5}, {"reject-route", 6}};
  const auto& codes = v6 ? v6_codes : v4_codes;
  const std::string word = word_of(value);
  const auto named = codes.find(word);
  const auto code = named != codes.end() ? std::optional<uint64_t>(named->second) : number(word, 255);
  if (!code) return std::nullopt;
  std::vector<Range> out;
  for (unsigned type = 0; type < 256; ++type) out.push_back({type * 256 + *code, type * 256 + *code});
  return Ranges(std::move(out));
}

Said<Subject> payload_subject(const std::string& protocol_name, const std::string& name) {
  const auto none = [&] { return refuse(fmt::format("the field `{} {}` has no counterpart", protocol_name, name)); };
  Subject s;
  const bool v6 = protocol_name == "ip6" || protocol_name == "icmpv6";
  if (protocol_name == "ip" || protocol_name == "ip6") {
    s.needs = family_box(v6);
    if (name == "saddr" || name == "daddr") {
      s.field = name == "saddr" ? Field::from : Field::to;
      s.read = [v6](const NftJson& value) -> std::optional<Ranges> {
        const auto range = addresses(word_of(value));
        return range && (*range & (v6 ? all_v4() : all_v6())).empty() ? range : std::nullopt;
      };
    } else if (name == "protocol" && !v6) {
      s.field = Field::proto, s.read = read_protocol;
    } else if (name == "nexthdr" && v6) {
      // What stands right behind the IPv6 header: no extension header, no fragment.
      s.needs.restrict(Field::options, just(0));
      s.needs.restrict(Field::fragment, just(Fragment::whole));
      s.field = Field::proto;
      s.read = [](const NftJson& value) -> std::optional<Ranges> {
        const auto n = protocol(word_of(value));
        const bool extension = n && (*n == 0 || *n == 43 || *n == 44 || *n == 51 || *n == 60 || *n == 135 || *n == 139 || *n == 140);
        return n && !extension ? std::optional(just(*n)) : std::nullopt;
      };
    } else if ((name == "ttl" && !v6) || (name == "hoplimit" && v6)) {
      s.field = Field::ttl, s.read = plain(255);
    } else if (name == "dscp") {
      s.field = Field::dscp, s.read = read_dscp;
    } else if (name == "length") {
      s.field = Field::length, s.read = plain(65535), s.shift = v6 ? 40 : 0;
    } else if (name == "version") {
      s.family = true, s.read = read_family;
    } else {
      return none();
    }
  } else if (protocol_name == "tcp" || protocol_name == "udp" || protocol_name == "th") {
    if (protocol_name != "th") s.needs.restrict(Field::proto, just(protocol_name == "tcp" ? 6 : 17));
    if (name == "sport" || name == "dport")
      s.field = name == "sport" ? Field::from_port : Field::to_port, s.read = plain(65535);
    else if (name == "flags" && protocol_name == "tcp")
      s.field = Field::flags, s.read = read_flags, s.bits = true;
    else
      return none();
  } else if (protocol_name == "icmp" || protocol_name == "icmpv6") {
    s.needs = family_box(v6);
    s.needs.restrict(Field::proto, just(v6 ? 58 : 1));
    s.field = Field::icmp;
    if (name == "type")
      s.read = [v6](const NftJson& value) { return icmp_kind(word_of(value), v6); };
    else if (name == "code")
      s.read = [v6](const NftJson& value) { return read_code(value, v6); };
    else
      return none();
  } else if (protocol_name == "ether" && name == "saddr") {
    s.field = Field::mac, s.read = read_mac;
  } else {
    return none();
  }
  return s;
}

Said<Subject> subject_of(const NftJson& left) {
  if (const NftJson* payload = member(left, "payload")) {
    const NftJson *protocol_name = member(*payload, "protocol"), *name = member(*payload, "field");
    if (!protocol_name || !name || !protocol_name->is_string() || !name->is_string()) return refuse("it looks at bytes of the packet by their place");
    return payload_subject(protocol_name->get<std::string>(), name->get<std::string>());
  }
  Subject s;
  if (const NftJson* meta = member(left, "meta")) {
    const NftJson* key_json = member(*meta, "key");
    const std::string key = key_json ? word_of(*key_json) : "";
    if (key == "iifname" || key == "iif") s.device = true;
    else if (key == "l4proto") s.field = Field::proto, s.read = read_protocol;
    else if (key == "nfproto" || key == "protocol") s.family = true, s.read = read_family;
    else if (key == "length") s.field = Field::length, s.read = plain(65535);
    else if (key == "oifname" || key == "oif") return refuse("it asks for the device that a packet leaves by, which is known only behind penstock");
    else if (key == "mark") return refuse("it asks for a mark, which a packet gets only behind penstock");
    else if (key == "pkttype") return refuse("it asks how the card got the packet: unicast, broadcast or multicast", "name the addresses with `to`");
    else return refuse(fmt::format("`meta {}` has no counterpart", key));
    return s;
  }
  if (const NftJson* ct = member(left, "ct")) {
    const NftJson* key = member(*ct, "key");
    if (!key || word_of(*key) != "state") return refuse("it asks for the state of a connection, and penstock keeps none");
    s.field = Field::state, s.read = read_state;
    return s;
  }
  if (member(left, "fib")) return refuse("it asks the routing table", "name the addresses with `from` or `to`");
  if (member(left, "socket")) return refuse("it asks for a socket", "`socket: yes` comes near");
  if (member(left, "exthdr")) return refuse("it looks into an IPv6 extension header");
  if (member(left, "tcp option")) return refuse("it looks into the options of TCP");
  return refuse(fmt::format("`{}` has no counterpart", short_text(left)));
}

// All numbers that `right` stands for.
Said<Ranges> values(const Subject& subject, const NftJson& right, const NftSets& sets) {
  const auto unread = [&] { return refuse(fmt::format("`{}` is not known here", short_text(right))); };
  const auto shifted = [&](const Ranges& ranges) {
    if (!subject.shift) return ranges;
    std::vector<Range> out;
    for (const Range& r : ranges.list())
      if (r.first + subject.shift <= most_of(subject.field)) out.push_back({r.first + subject.shift, std::min(r.last + subject.shift, most_of(subject.field))});
    return Ranges(std::move(out));
  };
  const auto union_of = [&](const NftJson& list) -> Said<Ranges> {
    std::vector<Range> all;
    for (const NftJson& item : list) {
      auto one = values(subject, bare(item), sets);
      if (!one) return one;
      all.insert(all.end(), one->list().begin(), one->list().end());
    }
    return Ranges(std::move(all));
  };
  if (right.is_string() && right.get_ref<const std::string&>().starts_with('@')) {
    const auto set = sets.elements.find(right.get<std::string>().substr(1));
    if (set == sets.elements.end()) return refuse(fmt::format("the set `{}` is not listed", right.get<std::string>()));
    return set->second ? union_of(*set->second) : Said<Ranges>(Ranges());
  }
  if (right.is_string() || right.is_number_unsigned()) {
    const auto one = subject.read(right);
    return one ? Said<Ranges>(shifted(*one)) : unread();
  }
  if (const NftJson* set = member(right, "set"); set && set->is_array()) return union_of(*set);
  if (right.is_array()) return union_of(right);
  if (const NftJson* range = member(right, "range"); range && range->is_array() && range->size() == 2) {
    const auto first = values(subject, (*range)[0], sets), last = values(subject, (*range)[1], sets);
    if (!first || !last || first->empty() || last->empty() || last->list().back().last < first->list().front().first) return unread();
    return Ranges(first->list().front().first, last->list().back().last);
  }
  if (const NftJson* prefix = member(right, "prefix")) {
    const NftJson *address = member(*prefix, "addr"), *length = member(*prefix, "len");
    if (!address || !length || (subject.field != Field::from && subject.field != Field::to)) return unread();
    const auto one = subject.read(word_of(*address) + "/" + word_of(*length));
    return one ? Said<Ranges>(*one) : unread();
  }
  return unread();
}

// The bits that a word, a number or a list of them stand for.
std::optional<unsigned> bits_of(const NftJson& value) {
  if (value.is_array()) {
    unsigned out = 0;
    for (const NftJson& one : value) {
      const auto bits = bits_of(one);
      if (!bits || !(one.is_string() || one.is_number_unsigned())) return std::nullopt;
      out |= *bits;
    }
    return out;
  }
  if (const NftJson* either = member(value, "|"); either && either->is_array() && either->size() == 2 && !either->front().is_array() && !either->back().is_array()) return bits_of(*either);
  return tcp_flags(word_of(value));
}

Said<Ranges> flag_values(const std::string& op, const NftJson& right, std::optional<unsigned> mask, const Subject& subject, const NftSets& sets) {
  if (const NftJson* set = member(right, "set"); set || (right.is_string() && right.get_ref<const std::string&>().starts_with('@'))) {
    if (mask) return refuse("a set of TCP flags under a mask");
    auto in = values(subject, right, sets);
    if (!in || op != "!=") return in;
    return in->complement(255);
  }
  const auto bits = bits_of(right);
  if (!bits) return refuse(fmt::format("`{}` is no list of TCP flags", short_text(right)));
  if (op == "in") return masked_bytes(*bits, 0).complement(255);
  if (op == "!") return masked_bytes(*bits, 0);
  const Ranges equal = masked_bytes(mask.value_or(255), *bits);
  if (op == "==") return equal;
  if (op == "!=") return equal.complement(255);
  return refuse(fmt::format("TCP flags compared with `{}`", op));
}

std::optional<std::vector<std::string>> device_names(const NftJson& right, const NftSets& sets) {
  const NftJson* list = member(right, "set");
  if (right.is_string() && right.get_ref<const std::string&>().starts_with('@')) {
    const auto set = sets.elements.find(right.get<std::string>().substr(1));
    if (set == sets.elements.end()) return std::nullopt;
    if (!set->second) return std::vector<std::string>{};
    list = set->second;
  }
  std::vector<std::string> out;
  if (!list) {
    if (!right.is_string()) return std::nullopt;
    out.push_back(right.get<std::string>());
    return out;
  }
  for (const NftJson& item : *list) {
    const NftJson& name = bare(item);
    if (!name.is_string()) return std::nullopt;
    out.push_back(name.get<std::string>());
  }
  return out;
}

Said<Box> atom(const NftJson& left, const std::string& op, const NftJson& right, const NftSets& sets) {
  const NftJson* masked = member(left, "&");
  if (masked && !(masked->is_array() && masked->size() == 2)) return refuse("a mask of two parts was expected");
  const NftJson& inner = masked ? (*masked)[0] : left;
  // The offset of a fragment is 0 in the first and in a whole datagram.
  if (const NftJson* payload = member(inner, "payload"); payload && masked && member(*payload, "field") && *member(*payload, "field") == "frag-off") {
    if (!(*masked)[1].is_number_unsigned() || (*masked)[1].get<uint64_t>() != 0x1fff || right != 0 || (op != "==" && op != "!=")) return refuse("it asks for more of a fragment than whether it is a later one");
    Box box = family_box(false);
    box.restrict(Field::fragment, op == "!=" ? just(later_fragment) : Ranges(Fragment::whole, first_fragment));
    return box;
  }
  auto subject = subject_of(inner);
  if (!subject) return std::unexpected(subject.error());
  if (masked && !subject->bits) return refuse("it compares under a mask");
  Box box = subject->needs;
  if (subject->device) {
    auto names = device_names(right, sets);
    if (!names || (op != "==" && op != "!=")) return refuse("devices by number, or compared by order");
    box.devices.push_back({std::move(*names), op == "!="});
    return box;
  }
  if (subject->bits) {
    std::optional<unsigned> mask;
    if (masked && !(mask = bits_of((*masked)[1]))) return refuse("a mask of TCP flags that is not known");
    auto wanted = flag_values(op, right, mask, *subject, sets);
    if (!wanted) return std::unexpected(wanted.error());
    box.restrict(subject->field, *wanted);
    return box;
  }
  auto wanted = values(*subject, right, sets);
  if (!wanted) return std::unexpected(wanted.error());
  const Field field = subject->family ? Field::from : subject->field;
  const Value most = most_of(field);
  if (op == "==" || op == "in") {
    box.restrict(field, *wanted);
  } else if (op == "!=") {
    box.restrict(field, wanted->complement(most));
  } else if (op == "<" || op == "<=" || op == ">" || op == ">=") {
    if (wanted->list().size() != 1 || wanted->count() != 1 || subject->family) return refuse("an order of more than one number");
    const Value limit = wanted->list().front().first;
    const bool below = op[0] == '<', equal = op.size() == 2;
    if (below) box.restrict(field, equal ? Ranges(0, limit) : limit ? Ranges(0, limit - 1) : Ranges());
    else box.restrict(field, equal ? Ranges(limit, most) : limit < most ? Ranges(limit + 1, most) : Ranges());
  } else {
    return refuse(fmt::format("the comparison `{}` has no counterpart", op));
  }
  if (right.is_string() && right.get_ref<const std::string&>().starts_with('@')) {
    const auto name = sets.names.find(right.get<std::string>().substr(1));
    if (name != sets.names.end()) {
      const bool unfilled = op != "!=" && wanted->empty();
      if (field == Field::from) box.from_set = name->second, box.from_unfilled = unfilled;
      if (field == Field::to) box.to_set = name->second, box.to_unfilled = unfilled;
    }
  }
  return box;
}

}  // namespace

const NftJson* member(const NftJson& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

Said<std::vector<Box>> nft_match(const NftJson& left, const std::string& op, const NftJson& right, const NftSets& sets) {
  const NftJson* parts = member(left, "concat");
  if (!parts) {
    auto box = atom(left, op, right, sets);
    if (!box) return std::unexpected(box.error());
    return std::vector<Box>{std::move(*box)};
  }
  if (op != "==") return refuse("it asks whether fields together are not in a set");
  std::vector<const NftJson*> elements;
  const NftJson* list = member(right, "set");
  if (right.is_string() && right.get_ref<const std::string&>().starts_with('@')) {
    const auto set = sets.elements.find(right.get<std::string>().substr(1));
    if (set == sets.elements.end()) return refuse(fmt::format("the set `{}` is not listed", right.get<std::string>()));
    if (!set->second) return refuse(fmt::format("the set `{}` of several fields is empty, and such sets become rules", right.get<std::string>()));
    list = set->second;
  }
  if (list)
    for (const NftJson& item : *list) elements.push_back(&bare(item));
  else
    elements.push_back(&bare(right));
  constexpr size_t most_elements = 256;
  if (elements.size() > most_elements) return refuse(fmt::format("a set of several fields with {} elements; each would be a rule", elements.size()));
  std::vector<Box> out;
  for (const NftJson* element : elements) {
    const NftJson* fields = member(*element, "concat");
    if (!fields || !fields->is_array() || !parts->is_array() || fields->size() != parts->size()) return refuse("an element that does not fit its set");
    Box all;
    for (size_t i = 0; i < fields->size(); ++i) {
      auto one = atom((*parts)[i], "==", (*fields)[i], sets);
      if (!one) return std::unexpected(one.error());
      all = all & *one;
    }
    out.push_back(std::move(all));
  }
  return out;
}

Said<Box> nft_needs(const NftJson& left) {
  const NftJson* parts = member(left, "concat");
  Box all;
  const auto add = [&all](const NftJson& one) -> Said<bool> {
    auto subject = subject_of(one);
    if (!subject) return std::unexpected(subject.error());
    all = all & subject->needs;
    return true;
  };
  if (parts && parts->is_array()) {
    for (const NftJson& part : *parts)
      if (auto done = add(part); !done) return std::unexpected(done.error());
  } else if (auto done = add(left); !done) {
    return std::unexpected(done.error());
  }
  return all;
}

Said<Ranges> nft_addresses(const NftJson& elements, bool& expires) {
  Subject any;
  any.read = [](const NftJson& value) { return addresses(word_of(value)); };
  for (const NftJson& item : elements) {
    const NftJson* elem = member(item, "elem");
    expires |= elem && member(*elem, "expires");
  }
  return values(any, elements, {});
}

}  // namespace penstock::foreign
