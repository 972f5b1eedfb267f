#include "app/import/flatten.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "app/import/approximate.h"
#include "app/import/devices.h"

namespace penstock::foreign {
namespace {

using Boxes = std::vector<Box>;

constexpr size_t most_entries = 200'000;
constexpr size_t most_steps = 20'000'000;
constexpr size_t most_boxes = 64;     // that one chain's packets fall into
constexpr size_t most_depth = 64;     // of jumps

// A place to go on from: where a chain continues behind a jump.
struct Frame {
  const Chain* chain;
  size_t next;
};

Boxes common(const Boxes& a, const Boxes& b) {
  Boxes out;
  for (const Box& x : a)
    for (const Box& y : b)
      if (Box both = x & y; !both.empty()) out.push_back(std::move(both));
  return out;
}

Boxes without(const Boxes& a, const Boxes& b) {
  Boxes rest = a;
  for (const Box& y : b) {
    Boxes next;
    for (const Box& x : rest) {
      if ((x & y).empty()) {
        next.push_back(x);
        continue;
      }
      Boxes pieces = x.without(y);
      std::ranges::move(pieces, std::back_inserter(next));
    }
    rest = std::move(next);
  }
  return rest;
}

class Flattener {
 public:
  Flattener(Ruleset& rules, const Options& options, Flat& out) : rules_(rules), options_(options), out_(out) {}

  Result<> run();

 private:
  struct Fate {
    bool walked = false, said = false;
  };

  Result<std::vector<std::vector<const Chain*>>> choose() const;
  std::vector<const Chain*> reachable(const std::vector<std::vector<const Chain*>>& passes);
  void resolve_devices(const std::vector<const Chain*>& chains);
  Result<> pass(const std::vector<const Chain*>& group);
  Result<> walk(Frame frame, Boxes packets, const std::vector<Frame>& above);
  Result<> finish(const Boxes& packets, std::vector<Frame> above, const Line& line);
  Result<> step();
  Box on_arrival(Box box) const;
  void emit(const Line& line, const Boxes& packets, Verdict verdict);
  void blame(const Line& line, const Unsayable& why);
  std::optional<Unsayable> unsayable(const Boxes& packets, bool nearly) const;
  void leave(const Line& line, std::string reason, std::string hint);
  Effect effect_of(const Line& line) const;
  void judge_effects(const NewPolicy& policy);
  void tell_the_rest(const std::vector<const Chain*>& chains);
  std::string base_name(const Line& line, const Chain& chain) const;

  Ruleset& rules_;
  const Options& options_;
  Flat& out_;
  NewPolicy* policy_ = nullptr;
  std::vector<Entry>* entries_ = nullptr;
  const Chain* base_ = nullptr;
  const Line* blamed_ = nullptr;                      // whose packets are followed to their end
  bool again_ = false;
  std::unordered_map<const Line*, Fate> fates_;
  std::unordered_map<const Line*, size_t> left_;      // index in out_.left
  std::unordered_map<const Line*, const Chain*> home_;
  std::unordered_set<const Line*> abroad_;            // about devices that are not imported for
  size_t steps_ = 0, emitted_ = 0;
};

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// The base chains that judge a packet on its way in, in the order they do; those of one place for both families together.
Result<std::vector<std::vector<const Chain*>>> Flattener::choose() const {
  const std::string wanted = lower(options_.chain);
  const std::optional<Hook> hook = wanted == "input" ? std::optional(Hook::input) : wanted == "forward" ? std::optional(Hook::forward) : std::nullopt;
  std::vector<const Chain*> chosen;
  for (const Chain& chain : rules_.chains) {
    const bool named = chain.name == options_.chain || chain.table + "/" + chain.name == options_.chain;
    if (hook ? chain.hook == Hook::prerouting || chain.hook == hook : named) chosen.push_back(&chain);
  }
  if (std::ranges::none_of(chosen, [&](const Chain* c) { return !hook || c->hook == hook; }))
    return fail(fmt::format("there is no chain {} in it", options_.chain), "name one with --chain");
  const auto rank = [](const Chain* c) { return std::pair(c->hook.value_or(Hook::other), c->priority); };
  std::ranges::stable_sort(chosen, {}, rank);
  std::vector<std::vector<const Chain*>> passes;
  for (const Chain* chain : chosen) {
    const auto beside = std::ranges::find_if(passes, [&](const auto& pass) {
      return rank(pass.front()) == rank(chain) && lower(pass.front()->table + pass.front()->name) == lower(chain->table + chain->name) &&
             std::ranges::all_of(pass, [&](const Chain* c) { return c->family != "inet" && chain->family != "inet" && c->family != chain->family; });
    });
    if (beside == passes.end()) passes.push_back({chain}); else beside->push_back(chain);
  }
  // A pass that only accepts says nothing, unless it is all there is.
  const auto idle = [&](const auto& pass) {
    return std::ranges::all_of(pass, [](const Chain* c) { return c->lines.empty() && c->policy == Verdict::accept; }) && !(hook && pass.front()->hook == hook && pass.front()->table == "filter");
  };
  if (passes.size() > 1) std::erase_if(passes, idle);
  return passes;
}

std::vector<const Chain*> Flattener::reachable(const std::vector<std::vector<const Chain*>>& passes) {
  std::vector<const Chain*> out;
  std::unordered_set<const Chain*> seen;
  for (const auto& pass : passes)
    for (const Chain* chain : pass)
      if (seen.insert(chain).second) out.push_back(chain);
  for (size_t i = 0; i < out.size(); ++i)
    for (const Line& line : out[i]->lines)
      if (line.verdict == Verdict::jump || line.verdict == Verdict::leave)
        if (const Chain* target = rules_.find(out[i]->family, out[i]->table, line.target); target && seen.insert(target).second) out.push_back(target);
  return out;
}

void Flattener::resolve_devices(const std::vector<const Chain*>& chains) {
  for (const Chain* chain : chains)
    for (Line& line : const_cast<Chain*>(chain)->lines)
      for (Box& box : line.match) {
        if (box.devices.empty()) continue;
        const auto meant = devices_of(box.devices, out_.devices);
        if (!meant) {
          if (line.reason.empty()) line.reason = "it means one of several devices that a pattern stands for", line.hint = "name each device with --interface";
        } else if (*meant != Ranges(0, out_.devices.size() - 1)) {
          box.restrict(Field::device, *meant);
          if (meant->empty()) abroad_.insert(&line);
        }
        box.devices.clear();
      }
}

Result<> Flattener::step() {
  if (++steps_ > most_steps || emitted_ > most_entries)
    return fail("the chains lead into one another so often that the rules would be too many", "simplify the returns and gotos of the chains");
  return {};
}

std::string Flattener::base_name(const Line& line, const Chain& chain) const {
  if (const std::string own = name_from(line.name); !own.empty()) return own;
  std::string name = name_from(chain.name, 40);
  return fmt::format("{}-{}", name.empty() ? "rule" : name, &line - chain.lines.data() + 1);
}

Effect Flattener::effect_of(const Line& line) const {
  if (line.effect) return *line.effect;
  switch (line.verdict) {
    case Verdict::accept: return Effect::drops_more;
    case Verdict::drop:
    case Verdict::reject: return Effect::passes_more;
    case Verdict::proceed: return Effect::none;
    default: return Effect::both;
  }
}

void Flattener::leave(const Line& line, std::string reason, std::string hint) {
  if (left_.contains(&line)) return;
  left_[&line] = out_.left.size();
  Entry entry;
  entry.line = &line;
  entry.left = reason;
  entries_->push_back(std::move(entry));
  out_.left.push_back({line.place, std::move(reason), std::move(hint), effect_of(line)});
}

// What XDP sees where the hook of the base chain sees `box`: in INPUT IPv4 is whole again, in FORWARD the TTL is one less.
Box Flattener::on_arrival(Box box) const {
  const bool v4 = (box.get(Field::from) & all_v6()).empty();
  if (base_->hook == Hook::input && v4 && box.find(Field::fragment))
    box.set(Field::fragment, box.get(Field::fragment).contains(Fragment::whole) ? Ranges(0, later_fragment) : Ranges());
  if (base_->hook == Hook::forward && box.find(Field::ttl)) {
    const Ranges seen = box.get(Field::ttl);
    std::vector<Range> before;
    for (const Range& r : seen.list())
      if (r.first < 255) before.push_back({r.first + 1, std::min<Value>(r.last, 254) + 1});
    box.set(Field::ttl, Ranges(std::move(before)));
  }
  return box;
}

void Flattener::emit(const Line& line, const Boxes& packets, Verdict verdict) {
  std::vector<Entry> fresh;
  for (const Box& seen : packets) {
    const Box box = on_arrival(seen);
    if (box.empty()) continue;
    std::vector<Approximation> parts{{box, ""}};
    if (options_.approximate_state && box.find(Field::state)) parts = approximate_state(box, verdict);
    for (Approximation& part : parts) {
      Vocabulary scratch = {out_.words.interfaces, {}, policy_->indifferent};
      if (auto said = say(part.box, scratch, "set"); !said) {
        blame(blamed_ ? *blamed_ : line, said.error());
        return;
      }
      Entry entry;
      entry.line = &line;
      entry.box = std::move(part.box);
      entry.verdict = verdict;
      entry.base = base_name(line, *home_.at(&line));
      entry.approximation = std::move(part.text);
      fresh.push_back(std::move(entry));
    }
  }
  fates_[&line].said |= !fresh.empty();
  emitted_ += fresh.size();
  std::ranges::move(fresh, std::back_inserter(*entries_));
}

// All that becomes of `packets`, which leave their chain by `line`, up to the end of the base chain and its policy.
Result<> Flattener::finish(const Boxes& packets, std::vector<Frame> above, const Line& line) {
  const Line* before = blamed_;
  if (!blamed_) blamed_ = &line;
  while (!above.empty()) {
    const Frame frame = above.back();
    above.pop_back();
    TRY(walk(frame, packets, above));
  }
  emit(line, packets, base_->policy);
  blamed_ = before;
  return {};
}

// What `line` asks cannot be said where it is needed.  It is left out everywhere, and all is told again without it.
void Flattener::blame(const Line& line, const Unsayable& why) {
  if (!line.reason.empty()) return;
  const_cast<Line&>(line).reason = why.reason;
  const_cast<Line&>(line).hint = why.hint;
  again_ = true;
}

// The first reason why one of `packets` cannot be said.  A state is passed over where what follows may be told nearly.
std::optional<Unsayable> Flattener::unsayable(const Boxes& packets, bool nearly) const {
  for (Box box : packets) {
    if (nearly) box.set(Field::state, Ranges(0, most_of(Field::state)));
    Vocabulary scratch = {out_.words.interfaces, {}, policy_->indifferent};
    if (auto said = say(box, scratch, "set"); !said) return said.error();
  }
  return std::nullopt;
}

// `packets` enter at `frame`.  Those that nothing decides go on to whatever is emitted next.
Result<> Flattener::walk(Frame frame, Boxes packets, const std::vector<Frame>& above) {
  const Chain& chain = *frame.chain;
  if (above.size() > most_depth) return fail(fmt::format("the chain {} leads to itself, or the chains are nested more than {} deep", chain.name, most_depth));
  for (size_t i = frame.next; i < chain.lines.size(); ++i) {
    TRY(step());
    const Line& line = chain.lines[i];
    home_[&line] = &chain;
    fates_[&line].walked = true;
    const Boxes here = common(packets, line.match);
    if (here.empty()) continue;
    if (!line.reason.empty()) {
      leave(line, line.reason, line.hint);
      continue;
    }
    if (line.verdict != Verdict::jump && line.verdict != Verdict::leave && line.verdict != Verdict::back) {
      emit(line, here, line.verdict);
      continue;
    }
    if (const auto why = unsayable(here, options_.approximate_state && line.verdict == Verdict::jump)) {
      blame(line, *why);
      continue;
    }
    if (line.verdict != Verdict::back) {
      const Chain* target = rules_.find(chain.family, chain.table, line.target);
      if (!target) return fail(Diagnostic{fmt::format("the chain {} does not exist", line.target), {line.place.file, line.place.line}, line.place.text});
      std::vector<Frame> inner = above;
      if (line.verdict == Verdict::jump) inner.push_back({&chain, i + 1});
      TRY(walk({target, 0}, here, inner));
      fates_[&line].said = true;
      if (line.verdict == Verdict::jump) continue;
    }
    // From here on `here` has left the chain.  Where one simple condition says so, the rest of the chain gets it;
    // else what becomes of these packets is told first, to their end.
    fates_[&line].said = true;
    Boxes rest = without(packets, line.match);
    if (above.empty()) {
      emit(line, here, base_->policy);
      if (rest.empty()) break;
      continue;
    }
    const bool simple = rest.size() <= packets.size() && !unsayable(rest, false);
    if (simple)
      packets = std::move(rest);
    else if (i + 1 < chain.lines.size())
      TRY(finish(here, above, line));
    if (packets.empty()) break;
    if (packets.size() > most_boxes) return fail(fmt::format("the returns of the chain {} cut its packets into too many pieces", chain.name));
  }
  return {};
}

const Ranges& family_of(const Chain& chain) {
  static const Ranges both(0, most_address);
  return chain.family == "ip" ? all_v4() : chain.family == "ip6" ? all_v6() : both;
}

// Rules of the two families that differ in nothing else become one.
std::vector<Entry> merge(std::vector<Entry> v4, std::vector<Entry> v6) {
  const auto key = [](const Entry& e) -> std::optional<std::pair<std::string, Box>> {
    const Ranges* from = e.box.find(Field::from);
    if (!e.line || !e.left.empty() || !from || (*from != all_v4() && *from != all_v6())) return std::nullopt;
    Box rest = e.box;
    rest.set(Field::from, Ranges(0, most_address));
    return std::pair(fmt::format("{}{}", static_cast<int>(e.verdict), e.approximation), std::move(rest));
  };
  std::vector<Entry> out;
  size_t at = 0;
  for (Entry& six : v6) {
    const auto wanted = key(six);
    size_t twin = v4.size();
    // Twins stand near: a longer search would cost more than the line it saves.
    if (wanted)
      for (size_t i = at; i < std::min(v4.size(), at + 256); ++i)
        if (const auto have = key(v4[i]); have && *have == *wanted) {
          twin = i;
          break;
        }
    if (twin == v4.size()) {
      out.push_back(std::move(six));
      continue;
    }
    while (at <= twin) out.push_back(std::move(v4[at++]));
    out.back().box = wanted->second;
    out.back().twins.push_back(six.line);
  }
  while (at < v4.size()) out.push_back(std::move(v4[at++]));
  return out;
}

Result<> Flattener::pass(const std::vector<const Chain*>& group) {
  NewPolicy policy;
  policy_ = &policy;
  Ranges covered;
  for (const Chain* chain : group) {
    covered = covered | family_of(*chain);
    if (drops(chain->policy)) policy.fallback = Verdict::drop;
  }
  policy.indifferent = covered.complement(most_address);
  policy.name = name_from(!group.front()->hook || group.front()->table == "filter" ? group.front()->name : group.front()->table + "-" + group.front()->name);
  if (policy.name.empty()) policy.name = "policy";
  for (unsigned i = 2; std::ranges::find(out_.policies, policy.name, &NewPolicy::name) != out_.policies.end(); ++i) policy.name = fmt::format("{}-{}", name_from(group.front()->name), i);
  std::vector<std::vector<Entry>> lists;
  for (const Chain* chain : group) {
    base_ = chain;
    std::vector<Entry>& entries = lists.emplace_back();
    entries_ = &entries;
    Box family;
    family.restrict(Field::from, family_of(*chain));
    TRY(walk({chain, 0}, {family}, {}));
    if (chain->policy != policy.fallback) {  // only where one family's policy is to accept and the other's to drop
      Entry entry;
      entry.box = family;
      entry.verdict = chain->policy;
      entry.base = fmt::format("{}-policy", chain->family == "ip" ? "ipv4" : "ipv6");
      entries.push_back(std::move(entry));
    }
  }
  policy.entries = lists.size() == 2 ? merge(std::move(lists[0]), std::move(lists[1])) : std::move(lists[0]);
  if (!policy.indifferent.empty()) {
    Entry entry;
    entry.box.restrict(Field::from, policy.indifferent);
    entry.base = group.front()->family == "ip" ? "ipv6" : "ipv4";
    policy.entries.insert(policy.entries.begin(), std::move(entry));
  }
  judge_effects(policy);
  out_.policies.push_back(std::move(policy));
  return {};
}

// An accept that is left out drops nothing more where nothing behind it drops, and the other way round.
void Flattener::judge_effects(const NewPolicy& policy) {
  bool drop_behind = drops(policy.fallback), accept_behind = !drop_behind;
  for (size_t i = policy.entries.size(); i-- > 0;) {
    const Entry& entry = policy.entries[i];
    if (entry.left.empty()) {
      drop_behind |= drops(entry.verdict);
      accept_behind |= entry.verdict == Verdict::accept;
      continue;
    }
    Effect& effect = out_.left[left_.at(entry.line)].effect;
    const bool more = drop_behind && (effect == Effect::drops_more || effect == Effect::both);
    const bool less = accept_behind && (effect == Effect::passes_more || effect == Effect::both);
    effect = more && less ? Effect::both : more ? Effect::drops_more : less ? Effect::passes_more : Effect::none;
  }
}

// No line is lost: what was neither said nor left out is named with the reason.
void Flattener::tell_the_rest(const std::vector<const Chain*>& chains) {
  const std::unordered_set<const Chain*> within(chains.begin(), chains.end());
  for (const Chain& chain : rules_.chains) {
    const bool here = within.contains(&chain);
    bool walked = false;
    if (!here && chain.hook && drops(chain.policy) && !chain.place.text.empty())
      out_.left.push_back({chain.place, fmt::format("the chain {} is not on the way that was imported", chain.name), "", Effect::none, false});
    for (const Line& line : chain.lines) {
      if (line.place.text.empty()) continue;  // ufw's own jumps, which stand in no file
      ++out_.lines;
      const auto fate = fates_.find(&line);
      walked |= fate != fates_.end();
      const bool left_out = left_.contains(&line), said = fate != fates_.end() && fate->second.said && !left_out;
      out_.said += said;
      if (left_out || said) continue;
      Left left{line.place, "", "", Effect::none, false};
      if (!here) {
        left.reason = fmt::format("its chain {} is not on the way that was imported", chain.name);
        if (chain.hook == Hook::forward || chain.hook == Hook::input) left.hint = fmt::format("import it with --chain {}", chain.name);
      } else if (fate != fates_.end()) {
        left.reason = abroad_.contains(&line) ? "it is about devices that are not imported for" : "no packet that it matches gets to it";
      } else if (walked || std::ranges::any_of(chain.lines, [&](const Line& l) { return fates_.contains(&l); })) {
        left.reason = "it stands behind a rule that lets no packet through to it";
      } else {
        left.reason = fmt::format("its chain {} is only reached by rules that were left out", chain.name);
        left.effect = effect_of(line);
        left.counts = true;
      }
      out_.left.push_back(std::move(left));
    }
  }
}

Result<> Flattener::run() {
  TRY_ASSIGN(const auto passes, choose());
  const std::vector<const Chain*> chains = reachable(passes);
  TRY_ASSIGN(out_.devices, choose_devices(chains, options_.devices, out_.notes));
  for (const Device& device : out_.devices) out_.words.interfaces.push_back(device.interface);
  out_.words.sets = rules_.sets;
  resolve_devices(chains);
  if (options_.policy)
    for (const auto& group : passes)
      for (const Chain* chain : group)
        if (chain->hook != Hook::prerouting) const_cast<Chain*>(chain)->policy = *options_.policy;
  // Each time at least one more line is left out, mostly all at once.
  constexpr int most_times = 64;
  for (int times = 0; times == 0 || again_; ++times) {
    if (times == most_times) return fail("the chains cannot be told as one list", "simplify their returns and gotos");
    again_ = false;
    out_.policies.clear();
    out_.left.clear();
    fates_.clear();
    left_.clear();
    steps_ = emitted_ = 0;
    for (const auto& group : passes) TRY(pass(group));
  }
  tell_the_rest(chains);
  for (const Aside& aside : rules_.asides) {
    ++out_.lines;
    out_.left.push_back({aside.place, aside.reason, aside.hint, Effect::none, aside.counts});
  }
  out_.notes.insert(out_.notes.end(), rules_.notes.begin(), rules_.notes.end());
  std::ranges::stable_sort(out_.left, {}, [](const Left& l) { return std::pair(l.place.file, l.place.line); });
  return {};
}

}  // namespace

Result<Flat> flatten(Ruleset& rules, const Options& options) {
  Flat out;
  TRY(Flattener(rules, options, out).run());
  return out;
}

}  // namespace penstock::foreign
