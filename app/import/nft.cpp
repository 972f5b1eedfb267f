// What `nft -j list ruleset` prints (libnftables-json(5)).
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "app/import/import.h"
#include "app/import/nft_match.h"
#include "core/base/utf8.h"

namespace penstock::foreign {
namespace {

constexpr unsigned most_depth = 64;

// Finds where the text is no JSON, or nested deeper than anything nft prints.
struct Checker : nlohmann::json_sax<NftJson> {
  size_t position = 0;
  unsigned depth = 0;
  std::string problem;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(size_t) override { return deeper(); }
  bool start_array(size_t) override { return deeper(); }
  bool end_object() override { --depth; return true; }
  bool end_array() override { --depth; return true; }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception&) override {
    position = at;
    problem = "is no JSON from here on";
    return false;
  }
  bool deeper() {
    if (++depth <= most_depth) return true;
    problem = fmt::format("is nested more than {} deep", most_depth);
    return false;
  }
};

Failure bad_json(const Source& source, size_t position, std::string problem, std::string hint) {
  const std::string_view text = source.text;
  const size_t at = std::min(position ? position - 1 : 0, text.size());
  const size_t start = at == 0 || text.rfind('\n', at - 1) == text.npos ? 0 : text.rfind('\n', at - 1) + 1;
  Location where{source.name, 1, 1};
  for (const char c : text.substr(0, start)) where.line += c == '\n';
  for (size_t i = start; i < at; ++where.column) i += std::max<size_t>(1, utf8_length(text.substr(i, at - i)));
  return fail(Diagnostic{std::move(problem), where, std::string(text.substr(start, text.find('\n', start) - start)), std::move(hint)});
}

std::string text_of(const NftJson& object, const char* key) {
  const NftJson* value = member(object, key);
  return value && value->is_string() ? value->get<std::string>() : "";
}

int64_t number_of(const NftJson& object, const char* key) {
  const NftJson* value = member(object, key);
  return value && value->is_number_integer() ? value->get<int64_t>() : 0;
}

// One table of one family.
struct Table {
  NftSets sets;
  std::map<std::string, const NftJson*> maps;
};

class NftReader {
 public:
  NftReader(const Source& source, const NftJson& list) : source_(source), list_(list) {}

  Ruleset run() {
    for (const NftJson& object : list_) {
      if (const NftJson* table = member(object, "table")) read_table(*table);
      if (const NftJson* set = member(object, "set")) read_set(*set);
      if (const NftJson* map = member(object, "map")) table_of(*map).maps[text_of(*map, "name")] = member(*map, "elem");
      if (const NftJson* chain = member(object, "chain")) read_chain(*chain);
    }
    for (const NftJson& object : list_)
      if (const NftJson* rule = member(object, "rule")) read_rule(*rule);
    for (Chain& chain : rules_.chains)
      for (Line& line : chain.lines)
        if ((line.verdict == Verdict::jump || line.verdict == Verdict::leave) && !rules_.find(chain.family, chain.table, line.target) && line.reason.empty())
          line.reason = fmt::format("the chain `{}` is not listed", line.target);
    return std::move(rules_);
  }

 private:
  Table& table_of(const NftJson& object) { return tables_[text_of(object, "family") + "/" + text_of(object, "table")]; }

  static bool judges(const std::string& family) { return family == "ip" || family == "ip6" || family == "inet"; }

  void read_table(const NftJson& table) {
    const NftJson* flags = member(table, "flags");
    if (flags && flags->dump().find("dormant") != std::string::npos) dormant_.insert(text_of(table, "family") + "/" + text_of(table, "name"));
  }

  void read_set(const NftJson& set) {
    Table& table = table_of(set);
    const std::string name = text_of(set, "name"), type = text_of(set, "type");
    const NftJson* elements = member(set, "elem");
    table.sets.elements[name] = elements && elements->is_array() ? elements : nullptr;
    if (type != "ipv4_addr" && type != "ipv6_addr") return;
    bool expires = false;
    Ranges content;
    if (elements) {
      auto read = nft_addresses(*elements, expires);
      if (!read) return;
      content = std::move(*read);
    }
    std::vector<std::string> taken;
    for (const NamedSet& other : rules_.sets) taken.push_back(other.name);
    const std::string fresh = set_name_from(name, taken);
    table.sets.names[name] = fresh;
    rules_.sets.push_back({fresh, std::move(content)});
    if (expires) rules_.notes.push_back(fmt::format("members of the set `{}` had a lifetime and stay for good now: `penstock set add {} ADDRESS --for 1h` gives them one", name, fresh));
  }

  void read_chain(const NftJson& object) {
    Chain chain;
    chain.family = text_of(object, "family"), chain.table = text_of(object, "table"), chain.name = text_of(object, "name");
    const std::string hook = text_of(object, "hook"), type = text_of(object, "type");
    chain.place = {source_.name, 0, fmt::format("chain {} {} {} {{ {}policy {} }}", chain.family, chain.table, chain.name, hook.empty() ? "" : "hook " + hook + " ", text_of(object, "policy"))};
    chain.priority = static_cast<int>(number_of(object, "prio"));
    chain.policy = text_of(object, "policy") == "drop" ? Verdict::drop : Verdict::accept;
    if (!hook.empty()) chain.hook = hook == "input" ? Hook::input : hook == "forward" ? Hook::forward : hook == "prerouting" ? Hook::prerouting : Hook::other;
    const bool counts = hook == "ingress" || hook == "prerouting" || hook == "input";
    if (!judges(chain.family)) refused_[key_of(object, chain.name)] = {fmt::format("tables of the family {} are not imported", chain.family), counts && chain.family != "arp"};
    else if (type == "nat") refused_[key_of(object, chain.name)] = {"it translates addresses, which penstock does not; it judges packets before any translation", counts};
    else if (hook == "ingress") refused_[key_of(object, chain.name)] = {"chains of the hook ingress are not imported", true};
    else if (dormant_.contains(chain.family + "/" + chain.table)) refused_[key_of(object, chain.name)] = {"its table is dormant", false};
    else rules_.chains.push_back(std::move(chain));
  }

  static std::string key_of(const NftJson& object, const std::string& chain) { return text_of(object, "family") + "/" + text_of(object, "table") + "/" + chain; }

  void read_rule(const NftJson& rule) {
    const std::string family = text_of(rule, "family"), table = text_of(rule, "table"), name = text_of(rule, "chain");
    const NftJson* expr = member(rule, "expr");
    Line line;
    line.name = text_of(rule, "comment");
    line.place = {source_.name, 0,
                  fmt::format("{} {} {} handle {}: {}", family, table, name, number_of(rule, "handle"), expr ? expr->dump(-1, ' ', false, NftJson::error_handler_t::replace) : "")};
    if (const auto why = refused_.find(key_of(rule, name)); why != refused_.end()) {
      rules_.asides.push_back({line.place, why->second.first, "", why->second.second});
      return;
    }
    Chain* chain = rules_.find(family, table, name);
    if (!chain) {
      rules_.asides.push_back({line.place, fmt::format("its chain `{}` is not listed", name), "", true});
      return;
    }
    sets_ = &table_of(rule).sets;
    maps_ = &table_of(rule).maps;
    std::vector<Line> made{std::move(line)};
    if (expr && expr->is_array())
      for (const NftJson& statement : *expr)
        if (!read_statement(made, statement)) break;
    std::ranges::move(made, std::back_inserter(chain->lines));
  }

  static void refuse(Line& line, std::string reason, std::string hint = {}) {
    if (line.reason.empty()) line.reason = std::move(reason), line.hint = std::move(hint);
  }

  static bool decide(Line& line, const NftJson& verdict) {
    if (member(verdict, "accept")) line.verdict = Verdict::accept;
    else if (member(verdict, "drop")) line.verdict = Verdict::drop;
    else if (member(verdict, "return")) line.verdict = Verdict::back;
    else if (member(verdict, "continue")) line.verdict = Verdict::proceed;
    else if (member(verdict, "reject")) line.verdict = Verdict::reject;
    else if (const NftJson* jump = member(verdict, "jump")) line.verdict = Verdict::jump, line.target = text_of(*jump, "target");
    else if (const NftJson* leap = member(verdict, "goto")) line.verdict = Verdict::leave, line.target = text_of(*leap, "target");
    else return false;
    return true;
  }

  static void narrow(Line& line, const std::vector<Box>& boxes) {
    std::vector<Box> out;
    for (const Box& have : line.match)
      for (const Box& more : boxes)
        if (Box both = have & more; !both.empty()) out.push_back(std::move(both));
    line.match = std::move(out);
  }

  // False: nothing behind it counts.
  bool read_statement(std::vector<Line>& made, const NftJson& statement) {
    Line& line = made.back();
    if (!statement.is_object() || statement.empty()) {
      refuse(line, "a statement that is not known");
      return true;
    }
    if (decide(line, statement)) {
      if (line.verdict == Verdict::reject) line.notes.emplace_back("penstock chooses how it answers: TCP with a reset, the rest with ICMP unreachable");
      return false;
    }
    const std::string kind = statement.begin().key();
    const NftJson& value = statement.begin().value();
    if (kind == "match") {
      const NftJson *left = member(value, "left"), *right = member(value, "right");
      if (!left || !right) {
        refuse(line, "a match without its two sides");
        return true;
      }
      auto boxes = nft_match(*left, text_of(value, "op"), *right, *sets_);
      if (boxes) narrow(line, *boxes); else refuse(line, boxes.error().reason, boxes.error().hint);
    } else if (kind == "vmap") {
      read_verdict_map(made, value);
      return false;
    } else if (kind == "log") {
      line.notes.emplace_back("it does not write to the log");
    } else if (kind == "mangle" || kind == "notrack" || kind == "set" || kind == "dup" || kind == "ct helper" || kind == "ct timeout" || kind == "ct expectation" || kind == "secmark" || kind == "flow") {
      if (kind == "set" && value.is_object() && value.contains("stmt")) refuse(line, "a rate limit or a count for each element: penstock's rules have none yet");
      else if (kind == "set" && text_of(value, "op") == "delete") refuse(line, "it takes elements out of a set");
      else line.notes.push_back(fmt::format("it does not do what `{}` did: mark, change or remember packets", kind));
    } else if (kind == "limit" || kind == "meter" || kind == "quota" || kind == "ct count") {
      refuse(line, "a limit: penstock's rules have none yet");
    } else if (kind == "dnat" || kind == "snat" || kind == "masquerade" || kind == "redirect" || kind == "tproxy") {
      line.effect = Effect::both;
      refuse(line, "it translates addresses, which penstock does not");
    } else if (kind == "queue" || kind == "synproxy" || kind == "fwd") {
      line.effect = Effect::both;
      refuse(line, "it hands packets to somebody else who decides");
    } else if (kind == "xt") {
      const std::string name = text_of(value, "name");
      if (name != "comment") refuse(line, fmt::format("a match or target of iptables, `{}`, that nft does not spell out", name), "import this table with iptables-save");
    } else if (kind != "counter" && kind != "last") {
      refuse(line, fmt::format("the statement `{}` has no counterpart", kind));
    }
    return true;
  }

  // Each element is a line of its own; `*` gets what no other has.
  void read_verdict_map(std::vector<Line>& made, const NftJson& map) {
    const Line base = made.back();
    const NftJson *key = member(map, "key"), *data = member(map, "data");
    const NftJson* elements = data ? member(*data, "set") : nullptr;
    if (data && data->is_string() && data->get_ref<const std::string&>().starts_with('@')) {
      const auto named = maps_->find(data->get<std::string>().substr(1));
      if (named == maps_->end()) {
        refuse(made.back(), fmt::format("the map `{}` is not listed", data->get<std::string>()));
        return;
      }
      elements = named->second;
      if (!elements) return;  // empty: the line only counts
    }
    if (!key || !elements || !elements->is_array()) {
      refuse(made.back(), "a map of verdicts without elements");
      return;
    }
    made.clear();
    std::vector<Box> taken;
    const NftJson* otherwise = nullptr;
    for (const NftJson& element : *elements) {
      Line line = base;
      line.verdict = Verdict::proceed;
      if (!element.is_array() || element.size() != 2) {
        refuse(line, "an element that is no pair");
        made.push_back(std::move(line));
        continue;
      }
      const NftJson* wrapped = member(element[0], "elem");
      const NftJson& value = wrapped && member(*wrapped, "val") ? *member(*wrapped, "val") : element[0];
      if (value == "*") {
        otherwise = &element[1];
        continue;
      }
      auto boxes = nft_match(*key, "==", value, *sets_);
      if (boxes) {
        narrow(line, *boxes);
        taken.insert(taken.end(), boxes->begin(), boxes->end());
      } else {
        refuse(line, boxes.error().reason, boxes.error().hint);
      }
      if (!decide(line, element[1])) refuse(line, "a verdict that is not known");
      made.push_back(std::move(line));
    }
    if (otherwise) {
      Line line = base;
      for (const Box& box : taken) {
        std::vector<Box> rest;
        for (const Box& have : line.match) std::ranges::move(have.without(box), std::back_inserter(rest));
        line.match = std::move(rest);
        if (!box.devices.empty() || line.match.size() > 256) refuse(line, "what no element of its map stands for cannot be said in few rules");
        if (!line.reason.empty()) break;
      }
      // A packet that the key does not fit, as a port does not fit ICMP, meets no element and no `*`.
      if (!taken.empty()) narrow(line, needs_of(*key));
      if (!decide(line, *otherwise)) refuse(line, "a verdict that is not known");
      made.push_back(std::move(line));
    }
    if (made.empty()) made.push_back(base);
  }

  // What a packet must be for the key of a map to be read at all.
  std::vector<Box> needs_of(const NftJson& key) const;

  const Source& source_;
  const NftJson& list_;
  Ruleset rules_;
  std::map<std::string, Table> tables_;
  std::map<std::string, std::pair<std::string, bool>> refused_;   // chains that are not imported: why, and whether it bears
  std::set<std::string> dormant_;
  const NftSets* sets_ = nullptr;
  const std::map<std::string, const NftJson*>* maps_ = nullptr;
};

std::vector<Box> NftReader::needs_of(const NftJson& key) const {
  auto box = nft_needs(key);
  return {box ? *box : Box{}};
}

}  // namespace

Result<Ruleset> read_nft(const Source& source) {
  const std::string hint = "give what `nft -j list ruleset` prints";
  Checker checker;
  if (!NftJson::sax_parse(source.text, &checker)) return bad_json(source, checker.position, checker.problem, hint);
  const NftJson json = NftJson::parse(source.text, nullptr, false);
  const NftJson* list = member(json, "nftables");
  if (!list || !list->is_array()) return bad_json(source, 1, "is not what nft prints: the key `nftables` with a list is missing", hint);
  return NftReader(source, *list).run();
}

}  // namespace penstock::foreign
