#include "features/limits/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/duration.h"
#include "core/config/types.h"
#include "features/limits/decode.h"

namespace penstock {
namespace {

constexpr uint32_t most_entries = 4'194'304;
constexpr uint64_t least_byte_burst = 10'000;   // a jumbo frame
constexpr std::chrono::hours longest_burst{30 * 24};
constexpr uint32_t most_factor = 100;

// As it is written, with places to point at.
struct Per {
  LimitPer what = LimitPer::source;
  std::optional<uint8_t> length;
};
struct Written {
  Rate rate;
  Location at, rate_at, burst_at, per_at, ban_at, entries_at;
  std::optional<Amount> burst;
  Per per;
  std::optional<Ban> ban;
  std::optional<uint32_t> entries;
};

Type<Amount> amount_type() {
  return {{"number of packets, or of bytes as in 64kB", {{"anyOf", {{{"type", "integer"}, {"minimum", 1}}, {{"type", "string"}, {"pattern", "^[0-9]+([kMG]|[kmgMG]?B)?$"}}}}}}, [](Decoder& d, const Node& node, Amount& out) {
            if (!expect_scalar(d, node, "a burst")) return false;
            const auto amount = parse_amount(node.text);
            if (!amount || amount->count == 0) return d.error(node, fmt::format("`{}` is no burst", node.text), "write a number of packets, as 100 or 10k, or of bytes, as 64kB");
            out = *amount;
            return true;
          }};
}

const std::vector<std::pair<LimitPer, std::string>>& per_words() {
  static const std::vector<std::pair<LimitPer, std::string>> words = {{LimitPer::source, "source"}, {LimitPer::destination, "destination"},
                                                                      {LimitPer::source_destination, "source+destination"}, {LimitPer::flow, "flow"}, {LimitPer::rule, "rule"}};
  return words;
}

Type<Per> per_type() {
  Shape shape{"source | destination | source+destination | flow | rule; with a prefix length: source/24", {{"type", "string"}, {"pattern", "^((source|destination|source\\+destination)(/[0-9]{1,3})?|flow|rule)$"}},
              {{"source", "each source by itself; of IPv6 each /64, since that is what one host owns"},
               {"destination", "each destination, in the same way"},
               {"source+destination", "each pair of them"},
               {"flow", "addresses (of IPv6 the /64), protocol and ports"},
               {"rule", "all packets of the rule together"},
               {"source/24", "each prefix: lengths from 8 to 32 are those of IPv4 (and IPv6 stays with /64), from 33 to 128 those of IPv6"}}};
  return {shape, [](Decoder& d, const Node& node, Per& out) {
            if (!expect_scalar(d, node, "what is counted by itself")) return false;
            const size_t slash = node.text.find('/');
            const std::string word = node.text.substr(0, slash);
            std::vector<std::string> names;
            bool known = false;
            for (const auto& [what, name] : per_words()) {
              names.push_back(name);
              if (name == word) out.what = what, known = true;
            }
            if (!known) return d.error(node, fmt::format("`{}` is nothing to count by", word), did_you_mean(word, names));
            if (slash == std::string::npos) return true;
            if (out.what == LimitPer::flow || out.what == LimitPer::rule) return d.error(node, fmt::format("`{}` takes no prefix length", word), fmt::format("write `per: {}`", word));
            uint64_t length = 0;
            if (!decode_number(d, node, std::string_view(node.text).substr(slash + 1), 8, 128, length)) return false;
            out.length = static_cast<uint8_t>(length);
            return true;
          }};
}

Keys<Ban> ban_keys() {
  return Keys<Ban>("ban", "How long an offender stays out.")
      .required("time", duration_type(), &Ban::time, {"The first ban.", "5m"})
      .optional("factor", number_type(1, most_factor), &Ban::factor, "1", {"By how much each further ban is longer than the one before it.", "4"})
      .optional("max", duration_type(), &Ban::max, {"How long it can become (default: with a factor 1d, or the time if that is longer).  For as long after its end a ban is remembered.", "1d"})
      .check([](Decoder& d, const Node& node, Ban& ban) {
        if (ban.max.count() != 0 && ban.max < ban.time) return d.error(node, "`max` is shorter than `time`", "make it longer, or leave it out");
        return true;
      });
}

Type<Ban> ban_type() {
  const Type<Ban> map = object_of(ban_keys());
  const Type<std::chrono::milliseconds> time = duration_type();
  Shape shape{"duration, or `{ time, factor, max }`", {{"anyOf", {time.shape.schema, map.shape.schema}}}, {}, map.shape.table, ""};
  return {shape, [map = map.decode, time = time.decode](Decoder& d, const Node& node, Ban& out) {
            if (!(node.kind == Node::Kind::map ? map(d, node, out) : time(d, node, out.time))) return false;
            if (out.time.count() == 0) return d.error(node, "a ban of no time bans nobody", "write how long, as 5m");
            if (out.max.count() == 0) out.max = out.factor > 1 ? std::max<std::chrono::milliseconds>(out.time, std::chrono::hours(24)) : out.time;
            return true;
          }};
}

bool check_limit(Decoder& d, const Node&, Written& w) {
  bool good = true;
  if (w.burst && w.burst->counted != w.rate.counted)
    good = d.error(w.burst_at, w.rate.counted == Counted::bytes ? "this rate counts bytes: the burst must, too" : "this rate counts packets: the burst must, too",
                   w.rate.counted == Counted::bytes ? "write it as 64kB" : "write a number without a unit");
  const uint64_t burst = w.burst ? w.burst->count : default_burst(w.rate);
  const long double seconds = static_cast<long double>(burst) * (w.rate.counted == Counted::bytes ? 8 : 1) * w.rate.seconds / static_cast<long double>(w.rate.amount);
  if (good && seconds > std::chrono::duration<long double>(longest_burst).count())
    good = d.error(w.burst_at, "this burst takes the rate more than 30 days to pay for", "write a smaller one");
  if (w.ban && (w.per.what == LimitPer::source_destination || w.per.what == LimitPer::flow || w.per.what == LimitPer::rule))
    good = d.error(w.ban_at, w.per.what == LimitPer::rule ? "with `per: rule` a ban has nobody to ban: whoever meets the rule would be" : "a ban is one of an address: this limit counts by more than one",
                   "write `per: source`, `per: destination` or a prefix as `source/24`");
  else if (w.ban && w.per.length.value_or(64) > 64)
    good = d.error(w.per_at, "a ban on IPv6 addresses longer than /64 bans nobody: a host has 2^64 of them", "write at most /64");
  if (w.per.what == LimitPer::rule && w.entries) good = d.error(w.entries_at, "`per: rule` has one bucket for all: it takes no `entries`", "remove it");
  return good;
}

Keys<Written> limit_keys() {
  return Keys<Written>("limit", "How much is too much.  With `action: drop`, `reject` or `continue` the rule matches the packets that are over the rate, with `accept` those within it; all "
                                "others go on to the next rule.  Only packets that the rule's other keys match are counted.")
      .required("rate", rate_type(), &Written::rate, {"N/s, N/min, N/h, N/d or Npps: packets (with `flags: syn` new connections).  Nbit or NB/s: bytes of the frame, from the Ethernet header on, in a second.  Thousands are k, M and G.", "100/s"})
      .located(&Written::rate_at)
      .optional("burst", amount_type(), &Written::burst,
                {"How much may come at once after a silence (default: 100 ms of the rate, at least 1 packet or 10,000 bytes; of packets in a minute, an hour or a day all of them).  Of a burst smaller than two packets a packet passes as soon as any of the second is earned back, so that what comes at the rate passes in full; so does a packet larger than the burst, which those after it make up for.", "20"})
      .located(&Written::burst_at)
      .optional("per", per_type(), &Written::per, "source", {"What has a rate of its own.", "source/24"})
      .located(&Written::per_at)
      .optional("ban", ban_type(), &Written::ban, {"From its first packet over the rate on, the address is matched for this long, whatever its rate.  Not with `action: accept`.", "5m"})
      .located(&Written::ban_at)
      .optional("entries", number_type(1, most_entries), &Written::entries,
                {"How many sources (or what `per` names) are counted exactly at the same time, and how many can be banned at the same time (default 65536; each takes 34 bytes, with `ban` 82).  One that finds no place shares the bucket of its prefix (IPv4 /24, IPv6 /48); a ban that finds none is refused and counted.", "100000"})
      .located(&Written::entries_at)
      .check(check_limit);
}

}  // namespace

uint64_t default_burst(const Rate& rate) {
  if (rate.counted == Counted::bytes) return std::max(rate.amount / 80, least_byte_burst);
  return rate.seconds > 1 ? rate.amount : std::max<uint64_t>(rate.amount / 10, 1);
}

std::string per_text(const Limit& limit) {
  std::string out;
  for (const auto& [what, name] : per_words())
    if (what == limit.per) out = name;
  if (limit.length4 != 32) return out + fmt::format("/{}", limit.length4);
  return limit.length6 == 64 ? out : out + fmt::format("/{}", limit.length6);
}

std::string limit_text(const Limit& l) {
  std::string out = fmt::format("{} burst {} per {} entries {}", rate_text(l.rate), l.burst, per_text(l), l.entries);
  if (l.ban) out += fmt::format(" ban {} factor {} max {}", duration_text(l.ban->time), l.ban->factor, duration_text(l.ban->max));
  return out;
}

Type<Limit> limit_type() {
  const Type<Written> written = object_of(limit_keys());
  return {written.shape, [decode = written.decode](Decoder& d, const Node& node, Limit& out) {
            Written w;
            if (!decode(d, node, w)) return false;
            out.at = w.at;
            out.rate = w.rate;
            out.burst = w.burst ? w.burst->count : default_burst(w.rate);
            out.per = w.per.what;
            if (w.per.length) (*w.per.length <= 32 ? out.length4 : out.length6) = *w.per.length;
            out.ban = w.ban;
            if (w.entries) out.entries = *w.entries;
            if (out.per == LimitPer::rule) out.entries = 1;
            return true;
          }};
}

Doc limit_doc() {
  return {"Match only what is over (or, with `accept`, within) a rate; ban who is over it.", "{ rate: 5/min, per: source, ban: 5m }"};
}

}  // namespace penstock
