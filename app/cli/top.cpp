// penstock top
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "app/config.h"
#include "core/base/diagnostic.h"
#include "core/plan/totals.h"
#include "features/policy/talkers.h"

namespace penstock {
namespace {

constexpr size_t shown_by_default = 20;

// A rule of the revision that runs, as RULE or POLICY/RULE.
struct Named {
  std::string policy;
  Rule rule;
};

Result<Named> find_rule(const Config& config, const std::string& name) {
  std::vector<std::string> known;
  std::vector<Named> found;
  for (const Policy& policy : config.policies)
    for (const Rule& rule : policy.rules) {
      known.push_back(policy.name + "/" + rule.name);
      if (name == rule.name || name == known.back()) found.push_back({policy.name, rule});
    }
  if (found.empty()) return fail(fmt::format("no rule `{}` runs", name), did_you_mean(name, known));
  if (found.size() > 1) return fail(fmt::format("several policies have a rule `{}`", name), fmt::format("write `{}/{}`", found.front().policy, name));
  if (found.front().rule.count == CountPer::none) {
    Diagnostic d{fmt::format("the rule `{}/{}` does not count by address", found.front().policy, found.front().rule.name), found.front().rule.at};
    d.hint = "write `count: per source` or `count: per destination` to it";
    return fail(std::move(d));
  }
  return found.front();
}

int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  auto running = observe(*instance);
  if (!running) return in.out.fail(running.error());
  const uint64_t active = running->active(coarse_now());
  auto revision = Revisions(*instance).read(active);
  if (active == 0 || !revision) return in.out.fail(Error{{Diagnostic{"nothing of penstock runs here"}}});
  auto config = config_of(*instance, *revision);
  if (!config) return in.out.fail(config.error());
  const auto named = find_rule(*config, in.argument("RULE"));
  if (!named) return in.out.fail(named.error());

  std::set<uint32_t> numbers;
  std::vector<Slot> slots;
  for (const Slot& slot : revision->slots)
    if (slot.policy == named->policy && slot.rule == named->rule.name) {
      numbers.insert(slot.number);
      slots.push_back(slot);
    }
  auto totals = read_counters(*instance, active, slots);
  if (!totals) return in.out.fail(totals.error());
  ps_counter total{};
  for (const ps_counter& c : *totals) {
    total.packets += c.packets;
    total.bytes += c.bytes;
  }
  auto map = open_pin(instance->pins("shared/policy_talkers"));
  if (!map) return in.out.fail(map.error());
  auto talkers = read_talkers(map->get(), numbers);
  if (!talkers) return in.out.fail(talkers.error());

  const std::string limit = in.option("--limit").value_or(std::to_string(shown_by_default));
  const size_t shown = std::min<size_t>(talkers->size(), std::strtoull(limit.c_str(), nullptr, 10));
  uint64_t counted = 0;
  for (const Talker& t : *talkers) counted += t.packets;
  const char* const side = named->rule.count == CountPer::source ? "source" : "destination";
  Json json = {{"policy", named->policy}, {"rule", named->rule.name}, {"per", side}, {"addresses", talkers->size()},
               {"packets", total.packets}, {"bytes", total.bytes}, {"packets_by_address", counted}, {"top", Json::array()}};
  std::string lines = fmt::format("  {:>14} {:>16}  {}\n", "packets", "bytes", side);
  for (size_t i = 0; i < shown; ++i) {
    const Talker& t = (*talkers)[i];
    json["top"].push_back({{"address", t.address.text()}, {"packets", t.packets}, {"bytes", t.bytes}});
    lines += fmt::format("  {:>14} {:>16}  {}\n", count_text(t.packets), count_text(t.bytes), t.address.text());
  }
  in.out.print(fmt::format("rule {}/{}: {} packets, {} address{}\n", named->policy, named->rule.name, count_text(total.packets), count_text(talkers->size()), talkers->size() == 1 ? "" : "es"));
  if (!talkers->empty()) in.out.print(lines);
  // Never silently: what is missing in the list is said.
  if (counted < total.packets)
    in.out.print(fmt::format("{} packets are of addresses that made room for others, or were counted before the rule asked for addresses\n", count_text(total.packets - counted)));
  in.out.json(json);
  return 0;
}

}  // namespace

const Command command_top = {
    .name = "top",
    .summary = "list the addresses that a rule met most",
    .description =
        "Lists the addresses with the most packets of a rule with `count: per source` or `count: per destination`. All such rules share "
        "65,536 counters; where they do not suffice, the address that was not seen for longest makes room, and the last line says how many "
        "packets are missing from the list.",
    .arguments = {{.name = "RULE", .description = "RULE or POLICY/RULE"}},
    .options = {{.name = "--limit", .metavar = "N", .description = "how many addresses (default 20)", .kind = Kind::number}},
    .examples = {{"penstock top edge/ssh", "who knocks at the SSH port"}},
    .run = run,
};

}  // namespace penstock
