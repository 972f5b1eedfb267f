#include "app/import/iptables_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "app/import/words.h"

namespace penstock::foreign {
namespace {

struct Reason {
  const char* name;
  const char* text;
  const char* hint = "";
};

// Matches whose options are not read, by their module.
constexpr Reason modules[] = {
    {"limit", "a rate limit: penstock's rules have none yet"},
    {"hashlimit", "a rate limit: penstock's rules have none yet"},
    {"recent", "it remembers the addresses of packets before", "`penstock set add SET ADDRESS --for 10m` bans an address for a time"},
    {"connlimit", "it counts connections, and penstock keeps no state of them"},
    {"connbytes", "it asks for the state of a connection, and penstock keeps none"},
    {"connmark", "it asks for a mark of a connection, and penstock keeps no state of them"},
    {"connlabel", "it asks for a label of a connection, and penstock keeps no state of them"},
    {"helper", "it asks for the state of a connection, and penstock keeps none"},
    {"mark", "it asks for a mark, which a packet gets only behind penstock"},
    {"addrtype", "it asks the routing table what kind an address is", "name the addresses with `from` or `to`"},
    {"rpfilter", "it asks the routing table for the way back", "the sysctl rp_filter does the same"},
    {"owner", "it asks for the user behind a packet that leaves"},
    {"physdev", "it asks for the port of a bridge", "attach to that port and use --interface"},
    {"pkttype", "it asks how the card got the packet: unicast, broadcast or multicast", "name the addresses with `to`"},
    {"string", "it looks into the payload"},
    {"u32", "it looks at any bytes of the packet"},
    {"bpf", "it runs a program"},
    {"time", "it asks for the time of day"},
    {"statistic", "it matches at random"},
    {"geoip", "it asks for the country of an address", "put the country's prefixes into a set with `file:`"},
    {"socket", "it asks for a socket", "`socket: yes` comes near"},
    {"policy", "it asks for IPsec's policy"},
};

constexpr const char* modules_read[] = {"tcp", "udp", "udplite", "icmp", "icmp6", "ipv6-icmp", "icmpv6", "comment", "multiport", "conntrack", "state", "set", "iprange", "mac",
                                        "dscp", "tos", "ttl", "hl", "length", "all"};
constexpr const char* loggers[] = {"LOG", "NFLOG", "ULOG", "TRACE", "AUDIT"};
constexpr const char* changers[] = {"MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "CLASSIFY", "CHECKSUM", "TCPMSS", "TCPOPTSTRIP", "DSCP", "TOS", "ECN", "TTL", "HL",
                                    "SET", "CT", "NOTRACK", "TEE", "RATEEST", "IDLETIMER", "LED", "HMARK", "NFACCT"};
constexpr const char* translators[] = {"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY"};
constexpr const char* deciders[] = {"NFQUEUE", "QUEUE", "SYNPROXY", "TARPIT", "CLUSTERIP"};

template <size_t N>
bool among(const char* const (&list)[N], const std::string& word) {
  return std::ranges::find(list, std::string_view(word)) != std::end(list);
}

class RuleReader {
 public:
  RuleReader(const Lines& lines, const std::vector<Word>& words, size_t at, RuleContext& context) : lines_(lines), words_(words), at_(at), context_(context) {}

  Result<Line> run() {
    line_.place = lines_.place();
    while (at_ < words_.size()) {
      const Word& word = words_[at_++];
      if (word.text == "!" && !word.quoted) {
        if (invert_) return lines_.error(word, "a negation of a negation");
        invert_ = true;
        continue;
      }
      if (!word.text.starts_with('-') || word.quoted) return lines_.error(word, fmt::format("expected an option, found `{}`", word.text));
      TRY(option(word));
      invert_ = false;
    }
    if (invert_) return lines_.error(words_.back(), "`!` with nothing behind it");
    finish();
    return std::move(line_);
  }

 private:
  using Handler = Result<> (RuleReader::*)(const Word& option, const Word& value);

  void refuse(std::string reason, std::string hint = {}) {
    if (line_.reason.empty()) line_.reason = std::move(reason), line_.hint = std::move(hint);
  }

  void narrow(Field field, const Ranges& ranges) {
    const Ranges these = invert_ ? ranges.complement(most_of(field)) : ranges;
    for (Box& box : line_.match) box.restrict(field, these);
  }

  // One field of several may hold the ranges; negated: none may.
  void narrow_any(Field a, Field b, const Ranges& ranges) {
    if (invert_) {
      narrow(a, ranges);
      narrow(b, ranges);
      return;
    }
    std::vector<Box> out;
    for (const Box& box : line_.match) {
      Box first = box, second = box;
      first.restrict(a, ranges);
      second.restrict(b, ranges);
      out.push_back(std::move(first));
      out.push_back(std::move(second));
    }
    line_.match = std::move(out);
  }

  Failure bad(const Word& value, std::string_view what) const { return lines_.error(value, fmt::format("`{}` is no {}", value.text, what)); }

  Result<> option(const Word& option);
  void unknown(const Word& option);

  // A match may ask something without any option; these do not.
  Result<> module(const Word&, const Word& value) {
    module_ = value.text;
    if (!among(modules_read, module_)) refuse_module();
    return {};
  }

  void refuse_module() {
    const auto why = std::ranges::find(modules, std::string_view(module_), [](const Reason& r) { return std::string_view(r.name); });
    if (why != std::end(modules))
      refuse(why->text, why->hint);
    else
      refuse(fmt::format("the match `{}` has no counterpart", module_));
  }

  Result<> proto(const Word&, const Word& value) {
    const auto number = protocol(value.text);
    if (!number) {
      refuse(fmt::format("the protocol `{}` is not known by this name", value.text), "write its number");
      return {};
    }
    // 0 and `all` are any protocol.
    if (*number) narrow(Field::proto, just(*number));
    return {};
  }

  Result<> address(const Word& option, const Word& value) {
    Ranges all;
    for (const std::string_view one : split(value.text, ',')) {
      const auto range = addresses(one);
      if (!range) {
        // A host's name, or a mask with holes.
        if (one.empty()) return bad(value, "address");
        refuse(fmt::format("`{}` is no prefix", one), "iptables-save prints addresses, not names");
        return {};
      }
      if (!(*range & (context_.v6 ? all_v4() : all_v6())).empty()) return lines_.error(value, fmt::format("`{}` is of the other family", one), context_.v6 ? "the other lines are IPv6" : "the other lines are IPv4");
      all = all | *range;
    }
    narrow(option.text == "-s" || option.text.starts_with("--s") ? Field::from : Field::to, all);
    return {};
  }

  Result<> iprange(const Word& option, const Word& value) {
    const auto range = addresses(value.text);
    if (!range) return bad(value, "range of addresses");
    narrow(option.text == "--src-range" ? Field::from : Field::to, *range);
    return {};
  }

  Result<> device(const Word&, const Word& value) {
    std::string name = value.text;
    if (name.ends_with('+')) name.back() = '*';
    for (Box& box : line_.match) box.devices.push_back({{name}, invert_});
    return {};
  }

  Result<> out_device(const Word&, const Word&) {
    refuse("it asks for the device that a packet leaves by, which is known only behind penstock");
    return {};
  }

  Result<Ranges> ports(const Word& value) const {
    std::vector<Range> out;
    for (const std::string_view one : split(value.text, ',')) {
      const auto range = number_range(one, ':', 65535);
      if (!range) return bad(value, "number of a port");
      out.push_back(range->list().front());
    }
    return Ranges(std::move(out));
  }

  Result<> port(const Word& option, const Word& value) {
    TRY_ASSIGN(const Ranges ranges, ports(value));
    const bool source = option.text.starts_with("--s"), both = option.text == "--ports" || option.text == "--port";
    if (both) narrow_any(Field::from_port, Field::to_port, ranges);
    else narrow(source ? Field::from_port : Field::to_port, ranges);
    return {};
  }

  Result<> flags(const Word& option, const Word& value) {
    if (at_ >= words_.size()) return lines_.error(value, fmt::format("`{}` takes two lists", option.text));
    const auto mask = tcp_flags(value.text), set = tcp_flags(words_[at_].text);
    if (!mask) return bad(value, "list of TCP flags");
    if (!set) return bad(words_[at_], "list of TCP flags");
    ++at_;
    narrow(Field::flags, masked_bytes(*mask, *set));
    return {};
  }

  Result<> icmp(const Word&, const Word& value) {
    const auto kind = icmp_kind(value.text, context_.v6);
    if (!kind)
      refuse(fmt::format("the ICMP type `{}` is not known by this name", value.text), "write its number");
    else
      narrow(Field::icmp, *kind);
    return {};
  }

  Result<> match_set(const Word&, const Word& value) {
    const std::string sides = at_ < words_.size() ? words_[at_].text : "";
    if (sides.empty()) return lines_.error(value, "`--match-set` takes a set and `src` or `dst`");
    ++at_;
    if (sides != "src" && sides != "dst") {
      refuse("it asks an ipset for more than one address");
      return {};
    }
    const auto set = context_.ipsets.find(value.text);
    if (set == context_.ipsets.end()) {
      refuse(fmt::format("the members of the ipset `{}` are not in this file", value.text), "give what `ipset save` prints with --ipset FILE");
      return {};
    }
    if (!set->second.reason.empty()) {
      refuse(set->second.reason);
      return {};
    }
    const std::string& name = set->second.name;
    if (std::ranges::none_of(context_.rules.sets, [&](const NamedSet& s) { return s.name == name; })) {
      context_.rules.sets.push_back({name, set->second.addresses});
      if (set->second.expires) context_.rules.notes.push_back(fmt::format("members of the set `{}` had a lifetime and stay for good now: `penstock set add {} ADDRESS --for 1h` gives them one", name, name));
    }
    const Field field = sides == "src" ? Field::from : Field::to;
    narrow(field, set->second.addresses);
    for (Box& box : line_.match) {
      (field == Field::from ? box.from_set : box.to_set) = name;
      (field == Field::from ? box.from_unfilled : box.to_unfilled) |= !invert_ && set->second.addresses.empty();
    }
    return {};
  }

  Result<> mac_source(const Word&, const Word& value) {
    const auto address = mac(value.text);
    if (!address) return bad(value, "MAC address");
    narrow(Field::mac, just(*address));
    return {};
  }

  Result<> dscp(const Word& option, const Word& value) {
    std::optional<uint64_t> code = number(value.text, 63);
    if (option.text == "--dscp-class") code = dscp_class(value.text);
    if (!code) return bad(value, "DSCP");
    narrow(Field::dscp, just(*code));
    return {};
  }

  // The whole byte under a mask: said where it asks for all of the DSCP and nothing of ECN.
  Result<> tos(const Word&, const Word& value) {
    const auto parts = split(value.text, '/');
    const auto wanted = number(parts[0], 255), mask = parts.size() == 2 ? number(parts[1], 255) : std::optional<uint64_t>(255);
    if (!wanted || !mask || parts.size() > 2) {
      refuse(fmt::format("the type of service `{}` is not known by this name", value.text), "write its number");
    } else if (*mask & 3) {
      refuse("it asks for the ECN bits beside the DSCP", "with the mask 0xfc it would ask for the DSCP alone");
    } else {
      std::vector<Range> codes;
      for (unsigned code = 0; code < 64; ++code)
        if ((code << 2 & *mask) == *wanted) codes.push_back({code, code});
      narrow(Field::dscp, Ranges(std::move(codes)));
    }
    return {};
  }

  Result<> ttl(const Word& option, const Word& value) {
    const auto limit = number(value.text, 255);
    if (!limit) return bad(value, "number up to 255");
    const bool below = option.text.ends_with("-lt"), above = option.text.ends_with("-gt");
    Ranges range = just(*limit);
    if (below) range = *limit ? Ranges(0, *limit - 1) : Ranges();
    if (above) range = *limit < 255 ? Ranges(*limit + 1, 255) : Ranges();
    narrow(Field::ttl, range);
    return {};
  }

  Result<> length(const Word&, const Word& value) {
    const auto range = number_range(value.text, ':', 65535);
    if (!range) return bad(value, "length in bytes");
    narrow(Field::length, *range);
    return {};
  }

  Result<> states(const Word&, const Word& value) {
    std::vector<Range> wanted;
    for (const std::string_view one : split(value.text, ',')) {
      const auto s = state(one);
      if (!s) {
        refuse("it asks whether the address of a connection was translated, and penstock keeps no state of them");
        return {};
      }
      wanted.push_back({*s, *s});
    }
    narrow(Field::state, Ranges(std::move(wanted)));
    return {};
  }

  Result<> comment(const Word&, const Word& value) {
    if (line_.name.empty()) line_.name = value.text;
    return {};
  }

  Result<> target(const Word& option, const Word& value) {
    if (!line_.target.empty()) return lines_.error(option, "a second target");
    line_.target = value.text;
    leap_ = option.text == "-g" || option.text == "--goto";
    module_.clear();
    return {};
  }

  void finish();

  static const std::unordered_map<std::string_view, Handler>& known();

  const Lines& lines_;
  const std::vector<Word>& words_;
  size_t at_;
  RuleContext& context_;
  Line line_;
  std::string module_;
  bool invert_ = false, leap_ = false;
};

const std::unordered_map<std::string_view, RuleReader::Handler>& RuleReader::known() {
  using R = RuleReader;
  static const std::unordered_map<std::string_view, Handler> handlers = {
      {"-p", &R::proto}, {"--protocol", &R::proto}, {"--proto", &R::proto},
      {"-s", &R::address}, {"--source", &R::address}, {"--src", &R::address}, {"-d", &R::address}, {"--destination", &R::address}, {"--dst", &R::address},
      {"-i", &R::device}, {"--in-interface", &R::device}, {"-o", &R::out_device}, {"--out-interface", &R::out_device},
      {"-j", &R::target}, {"--jump", &R::target}, {"-g", &R::target}, {"--goto", &R::target}, {"-m", &R::module}, {"--match", &R::module},
      {"--sport", &R::port}, {"--source-port", &R::port}, {"--sports", &R::port}, {"--source-ports", &R::port},
      {"--dport", &R::port}, {"--destination-port", &R::port}, {"--dports", &R::port}, {"--destination-ports", &R::port}, {"--port", &R::port}, {"--ports", &R::port},
      {"--tcp-flags", &R::flags}, {"--icmp-type", &R::icmp}, {"--icmpv6-type", &R::icmp}, {"--src-range", &R::iprange}, {"--dst-range", &R::iprange},
      {"--match-set", &R::match_set}, {"--mac-source", &R::mac_source}, {"--dscp", &R::dscp}, {"--dscp-class", &R::dscp}, {"--tos", &R::tos},
      {"--ttl-eq", &R::ttl}, {"--ttl", &R::ttl}, {"--ttl-lt", &R::ttl}, {"--ttl-gt", &R::ttl}, {"--hl-eq", &R::ttl}, {"--hl-lt", &R::ttl}, {"--hl-gt", &R::ttl},
      {"--length", &R::length}, {"--ctstate", &R::states}, {"--state", &R::states}, {"--comment", &R::comment}};
  return handlers;
}

Result<> RuleReader::option(const Word& given) {
  Word option = given, value;
  // --dport=22 is --dport 22.
  const size_t equals = given.text.starts_with("--") ? given.text.find('=') : given.text.npos;
  if (equals != given.text.npos) {
    option.text = given.text.substr(0, equals);
    value = given;
    value.text = given.text.substr(equals + 1);
  }
  if (option.text == "--syn") {
    narrow(Field::flags, masked_bytes(1 | 2 | 4 | 16, 2));
    return {};
  }
  if (option.text == "-f" || option.text == "--fragment") {
    if (context_.v6) return lines_.error(option, "IPv6 has no such option");
    narrow(Field::fragment, just(later_fragment));
    return {};
  }
  if (option.text == "-4" || option.text == "-6") {
    if (context_.v6 != (option.text == "-6")) refuse("it is of the other family");
    return {};
  }
  if (option.text == "-c" || option.text == "--set-counters") {
    if (at_ + 2 > words_.size()) return lines_.error(option, "`-c` takes two numbers");
    at_ += 2;
    return {};
  }
  const auto handler = known().find(option.text);
  if (handler == known().end()) {
    unknown(option);
    return {};
  }
  if (equals == given.text.npos) {
    if (at_ >= words_.size()) return lines_.error(option, fmt::format("`{}` takes a value", option.text));
    value = words_[at_++];
  }
  return (this->*handler->second)(option, value);
}

// An option that is not read makes the rule unsayable if it belongs to a match; what belongs to a target is passed over.
void RuleReader::unknown(const Word& option) {
  while (at_ < words_.size() && (words_[at_].quoted || (!words_[at_].text.starts_with('-') && words_[at_].text != "!"))) ++at_;
  if (module_.empty() && !line_.target.empty()) {
    if (line_.target == "REJECT" && option.text == "--reject-with") line_.notes.emplace_back("penstock chooses how it answers: TCP with a reset, the rest with ICMP unreachable");
    return;
  }
  if (module_.empty())
    refuse(fmt::format("the option `{}` is not known", option.text));
  else if (among(modules_read, module_))
    refuse(fmt::format("the option `{}` of the match `{}` has no counterpart", option.text, module_));
}

void RuleReader::finish() {
  const std::string target = line_.target;
  line_.target.clear();
  for (Box& box : line_.match) {
    if (!box.find(Field::icmp)) continue;
    box.restrict(Field::proto, just(context_.v6 ? 58 : 1));
  }
  if (leap_) {
    line_.verdict = Verdict::leave;
    line_.target = target;
  } else if (target.empty()) {
    line_.verdict = Verdict::proceed;
  } else if (target == "ACCEPT") {
    line_.verdict = Verdict::accept;
  } else if (target == "DROP") {
    line_.verdict = Verdict::drop;
  } else if (target == "REJECT") {
    line_.verdict = Verdict::reject;
  } else if (target == "RETURN") {
    line_.verdict = Verdict::back;
  } else if (among(loggers, target)) {
    line_.verdict = Verdict::proceed;
    line_.notes.emplace_back("the rule counts; it does not write to the log");
  } else if (among(changers, target)) {
    line_.verdict = Verdict::proceed;
    line_.reason.clear();
    refuse(fmt::format("the target {} marks or changes packets and decides nothing", target));
  } else if (among(translators, target)) {
    line_.effect = Effect::both;
    refuse(fmt::format("the target {} translates addresses, which penstock does not", target));
  } else if (among(deciders, target)) {
    line_.effect = Effect::both;
    refuse(fmt::format("the target {} hands packets to somebody else who decides", target));
  } else {
    line_.verdict = Verdict::jump;
    line_.target = target;
  }
}

}  // namespace

Result<Line> read_options(const Lines& lines, const std::vector<Word>& words, size_t at, RuleContext& context) {
  return RuleReader(lines, words, at, context).run();
}

}  // namespace penstock::foreign
