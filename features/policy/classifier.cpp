#include "features/policy/classifier.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "features/policy/classifier_fields.h"
#include "features/policy/classifier_tuples.h"

namespace penstock {
namespace {

struct Entry {
  ClassifierKey key;
  uint8_t needs = 0;
  ps_class_entry line{};  // all but the chain
};

// The residual tests, equal ones kept once.
class Residuals {
 public:
  explicit Residuals(std::vector<ps_rule>& out) : out_(out) {}

  // Those of `guards` that are in force, then what `rule` asks beyond the entry; "skip" is made to leave the group.
  uint32_t add(const std::vector<ps_rule>& guards, ps_rule rule) {
    std::vector<ps_rule> group = guards;
    for (size_t i = 0; i < group.size(); ++i) group[i].slot = static_cast<uint32_t>(group.size() - i);
    rule.flags &= static_cast<__u8>(~PS_RULE_PROTO);
    rule.needs = 0;
    rule.proto = 0;
    rule.slot = 0;
    rule.then = 0;
    rule.verdict = PS_PASS;
    for (int side = 0; side < 2; ++side) {
      rule.port_first[side] = 0;
      rule.port_last[side] = 65535;
    }
    group.push_back(rule);
    std::string bytes(reinterpret_cast<const char*>(group.data()), group.size() * sizeof(ps_rule));
    const auto [at, fresh] = known_.try_emplace(std::move(bytes), static_cast<uint32_t>(out_.size()));
    if (fresh) out_.insert(out_.end(), group.begin(), group.end());
    return at->second << 8 | static_cast<uint32_t>(group.size());
  }

 private:
  std::vector<ps_rule>& out_;
  std::unordered_map<std::string, uint32_t> known_;
};

void tell_address(const std::optional<Prefix>& prefix, int side, Entry& entry) {
  ps_class_entry& line = entry.line;
  const uint8_t length = prefix ? prefix->length : 0;
  line.ignore[2 * side] = static_cast<__u8>(64 - std::min<int>(length, 64));
  line.ignore[2 * side + 1] = static_cast<__u8>(128 - std::max<int>(length, 64));
  if (!prefix) return;
  line.address[2 * side] = prefix->address.hi;
  line.address[2 * side + 1] = prefix->address.lo;
  entry.key.address[side] = prefix->address;
  entry.key.length[side] = length;
  entry.needs |= prefix->is_v4() ? PS_IPV4 : PS_IPV6;  // ::/0 must not cover mapped addresses
}

// How many entries that ask the same are kept, from the first that decides on: those behind it decide nothing, but explain
// names the rules that match too.  More would only make chains longer.
constexpr unsigned most_alike = 8;

// The list as entries that can match at all.  False: see build_classifier.
bool make_entries(std::span<const ClassifierRule> rules, std::vector<Entry>& entries, std::vector<ps_rule>& residuals) {
  Residuals kept(residuals);
  std::vector<std::pair<size_t, ps_rule>> skips;  // valid before this position
  std::unordered_map<std::string, unsigned> seen;  // what entries ask behind which a packet does not go on, how many there are
  size_t position = 0;
  for (size_t i = 0; i < rules.size(); ++i) {
    const ps_rule& rule = rules[i].rule;
    if (!rules[i].same_rule) position = i;
    std::erase_if(skips, [&](const auto& skip) { return skip.first <= i; });
    if (rule.verdict == PS_RULE_SKIP) {
      const size_t end = i + 1 + rule.slot;
      if (!skips.empty() && end > skips.back().first) return false;  // would be in force only if it is not skipped
      skips.emplace_back(end, rule);
      continue;
    }
    if (skips.size() >= PS_RESIDUAL_COUNT_MAX) return false;

    Entry entry;
    entry.needs = rule.needs;
    for (int side = 0; side < 2; ++side) {
      tell_address(rules[i].prefix[side], side, entry);
      entry.line.port_first[side] = entry.key.port_first[side] = rule.port_first[side];
      entry.line.port_last[side] = entry.key.port_last[side] = rule.port_last[side];
    }
    entry.line.needs = entry.needs;
    if (rule.flags & PS_RULE_PROTO) {
      entry.key.has_proto = true;
      entry.line.proto = entry.key.proto = rule.proto;
      entry.line.flags |= PS_CLASS_PROTO;
    }
    constexpr uint8_t families = PS_IPV4 | PS_IPV6;
    if ((entry.needs & families) == families || rule.port_first[0] > rule.port_last[0] ||
        rule.port_first[1] > rule.port_last[1])
      continue;
    if (!skips.empty() || rule.flags & (PS_RULE_FROM | PS_RULE_TO | PS_RULE_SOCKET | PS_RULE_EXTRA)) {
      std::vector<ps_rule> guards;
      for (const auto& [end, skip] : skips) guards.push_back(skip);
      entry.line.residual = kept.add(guards, rule);
      entry.line.flags |= PS_CLASS_RESIDUAL;
    }
    std::string asked(reinterpret_cast<const char*>(&entry.line), sizeof entry.line);
    const auto alike = seen.find(asked);
    if (alike != seen.end() && alike->second++ >= most_alike) continue;
    if (alike == seen.end() && !(rule.then & PS_THEN_PERHAPS_ON)) seen.emplace(std::move(asked), 1);
    entry.line.flags |= static_cast<__u8>(rule.then);
    entry.line.position = static_cast<__u32>(position);
    entry.line.slot = rule.slot;
    entry.line.verdict = rule.verdict;
    entries.push_back(entry);
  }
  return true;
}

std::vector<FieldTables::Item> address_items(const std::vector<Entry>& entries, const std::vector<uint32_t>& tuple,
                                             int side, bool ipv4, TupleSet& any) {
  std::vector<FieldTables::Item> items;
  const uint8_t other = ipv4 ? PS_IPV6 : PS_IPV4;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].needs & other) continue;
    const ClassifierKey& key = entries[i].key;
    if (key.length[side] == 0) {
      any.add(tuple[i]);
      continue;
    }
    items.push_back({{key.address[side], key.length[side]}, {}});
    items.back().tuples.add(tuple[i]);
  }
  std::ranges::sort(items, {}, &FieldTables::Item::prefix);
  size_t n = 0;
  for (const FieldTables::Item& item : items) {
    if (n > 0 && items[n - 1].prefix == item.prefix)
      items[n - 1].tuples |= item.tuples;
    else
      items[n++] = item;
  }
  items.resize(n);
  return items;
}

std::map<uint32_t, TupleSet> port_intervals(const std::vector<Entry>& entries, const std::vector<uint32_t>& tuple,
                                            int side) {
  std::map<uint32_t, std::vector<std::pair<uint32_t, int>>> events;
  events[0];
  for (size_t i = 0; i < entries.size(); ++i) {
    const ClassifierKey& key = entries[i].key;
    events[key.port_first[side]].emplace_back(tuple[i], 1);
    if (key.port_last[side] < 65535) events[key.port_last[side] + 1u].emplace_back(tuple[i], -1);
  }
  std::map<uint32_t, TupleSet> out;
  std::vector<uint32_t> active(PS_TUPLES_MAX);
  TupleSet now;
  for (const auto& [port, changes] : events) {
    for (const auto& [number, change] : changes) active[number] += static_cast<uint32_t>(change);
    for (const auto& [number, change] : changes) {
      now.word[number >> 6] &= ~(1ull << (number & 63));
      if (active[number]) now.add(number);
    }
    out.emplace_hint(out.end(), port, now);
  }
  return out;
}

std::vector<TupleSet> service_values(const std::vector<Entry>& entries, const std::vector<uint32_t>& tuple) {
  TupleSet any, any_ports;
  std::vector<TupleSet> out(2 * PS_SERVICE_PORTS);
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& e = entries[i];
    const bool ports = e.needs & PS_PORTS;
    if (!e.key.has_proto) {
      if (!ports) any.add(tuple[i]);
      any_ports.add(tuple[i]);
    } else {
      if (!ports) out[e.key.proto].add(tuple[i]);
      out[PS_SERVICE_PORTS | e.key.proto].add(tuple[i]);
    }
  }
  for (size_t i = 0; i < out.size(); ++i) out[i] |= i & PS_SERVICE_PORTS ? any_ports : any;
  return out;
}

template <class T>
void put(std::vector<ps_line>& lines, size_t line, const T& value) {
  static_assert(sizeof(T) == sizeof(ps_line));
  std::memcpy(&lines[line], &value, sizeof value);
}

// Writes chains: each at its home if there are as many homes as `homes`, what follows behind all homes.
// `homes` 1: entry after entry.
void put_chains(const std::vector<Entry>& entries, const std::vector<uint64_t>& home_of, size_t homes, Classifier& out) {
  std::vector<std::vector<uint32_t>> chains(homes);
  for (uint32_t i = 0; i < entries.size(); ++i) chains[home_of[i]].push_back(i);  // entries are in order of position
  const size_t first = out.lines.size();
  out.descriptor.home = static_cast<__u32>(first);
  out.descriptor.homes = static_cast<__u32>(homes);
  size_t behind = first + homes;
  out.lines.resize(behind + entries.size());
  for (size_t h = 0; h < homes; ++h) {
    ps_class_entry none{};
    none.position = PS_NO_POSITION;
    put(out.lines, first + h, none);
    size_t at = first + h;
    out.longest_chain = std::max(out.longest_chain, chains[h].size());
    for (size_t k = 0; k < chains[h].size(); ++k) {
      ps_class_entry line = entries[chains[h][k]].line;
      const size_t next = k + 1 < chains[h].size() ? behind++ : 0;
      line.next = static_cast<__u32>(next);
      put(out.lines, at, line);
      at = next;
    }
  }
  out.lines.resize(behind);
}

}  // namespace

std::optional<Classifier> build_classifier(std::span<const ClassifierRule> rules, size_t chain_max) {
  Classifier out;
  std::vector<Entry> entries;
  entries.reserve(rules.size());
  if (!make_entries(rules, entries, out.residuals)) return std::nullopt;
  out.entries = entries.size();

  std::vector<ClassifierKey> keys;
  keys.reserve(entries.size());
  for (const Entry& e : entries) keys.push_back(e.key);
  std::vector<TupleGroup> groups;
  if (entries.size() > chain_max) {
    groups = choose_tuples(keys);
  } else {
    groups.emplace_back();
    for (uint32_t i = 0; i < entries.size(); ++i) groups.front().entries.push_back(i);
  }
  const auto first_of = [&](const TupleGroup& g) {
    return g.entries.empty() ? 0 : entries[g.entries.front()].line.position;
  };
  std::ranges::sort(groups, {}, first_of);

  ps_classifier& c = out.descriptor;
  TupleSet all;
  out.lines.resize(1 + groups.size());  // line 0 means "none"
  c.tuple = 1;
  c.tuples = static_cast<__u32>(groups.size());
  std::vector<uint32_t> tuple_of(entries.size());
  std::vector<uint64_t> hash_of(entries.size());
  std::unordered_set<uint64_t> hashes;
  for (uint32_t t = 0; t < groups.size(); ++t) {
    ps_class_tuple tuple = groups[t].mask.masks();
    tuple.seed = (t + 1) * 0xe7037ed1a0b428dbull;
    tuple.first = first_of(groups[t]);
    put(out.lines, c.tuple + t, tuple);
    all.add(t);
    for (const uint32_t i : groups[t].entries) {
      tuple_of[i] = t;
      hash_of[i] = tuple_hash(tuple, keys[i]) >> 32;
      hashes.insert(hash_of[i]);
    }
  }
  // One home in five stays empty at least; a list of one chain has one.
  const size_t homes = std::max<size_t>(1, hashes.size() == 1 ? 1 : hashes.size() + hashes.size() / 4);
  for (uint32_t i = 0; i < entries.size(); ++i) hash_of[i] = hash_of[i] * homes >> 32;
  std::ranges::copy(all.word, c.all);

  if (groups.size() > 1) {
    FieldTables fields(out.lines);
    for (int side = 0; side < 2; ++side) {
      for (const bool ipv4 : {true, false}) {
        TupleSet any;
        const auto items = address_items(entries, tuple_of, side, ipv4, any);
        c.field[2 * side + !ipv4] = fields.addresses(items, any, ipv4, all);
      }
      c.field[PS_CLASS_SOURCE_PORT + side] = fields.ports(port_intervals(entries, tuple_of, side), all);
    }
    c.field[PS_CLASS_SERVICE] = fields.services(service_values(entries, tuple_of), all);
    if (fields.depth() > PS_NODE_DEPTH) return std::nullopt;
  }
  put_chains(entries, hash_of, homes, out);
  return out;
}

}  // namespace penstock
