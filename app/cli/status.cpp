// penstock status
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "app/limits.h"
#include "core/plan/totals.h"
#include "features/limits/bans.h"
#include "features/services/state.h"
#include "features/syn_proxy/state.h"

namespace penstock {
namespace {

struct Links {
  Json json = Json::array();
  std::string text;
};

Links describe_links(const Output& out, const Instance& instance, const Running& running, const Revision* revision) {
  Links links;
  std::vector<Attachment> wanted;
  if (revision)
    if (auto all = attachments_of(revision->hooks, list_devices())) wanted = std::move(*all);
  auto add = [&](const std::string& device, const std::string& interface, const std::string& mode, const std::string& state, bool good) {
    links.json.push_back({{"device", device}, {"interface", interface}, {"mode", mode}, {"state", state}});
    links.text += fmt::format("  {:<12} {:<12} {:<8} {}\n", interface, device, mode, out.styled(good ? Style::good : Style::bad, state));
  };
  for (const RunningLink& link : running.links) {
    const auto want = std::find_if(wanted.begin(), wanted.end(), [&](const Attachment& a) { return a.device.ifindex == link.ifindex; });
    const std::string interface = want == wanted.end() ? "-" : revision->hooks[want->hook].interface;
    std::string name = link.device.empty() ? Revisions(instance).device(link.ifindex) : link.device;
    if (name.empty()) name = fmt::format("#{}", link.ifindex);
    if (link.info.ifindex == 0)
      add(name, interface, "-", "device is gone", false);
    else if (want == wanted.end())
      add(name, interface, attach_name(link.mode), "attached, but no interface of the file matches this name", false);
    else if (want->mode == "auto" && link.mode == XdpAttach::generic)
      add(name, interface, "generic", "attached, slower: the driver refused native XDP", true);
    else if (!revision->hooks[want->hook].behind.empty() && std::ranges::none_of(running.tc_links, [&](const TcLink& l) { return l.info.ifindex == link.ifindex; }))
      add(name, interface, attach_name(link.mode), "attached, but not at the tc ingress: the next changing command does that", false);
    else
      add(name, interface, attach_name(link.mode), revision->hooks[want->hook].behind.empty() ? "attached" : "attached, and at the tc ingress", true);
  }
  for (const Attachment& a : wanted) {
    const bool there = std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.ifindex == a.device.ifindex; });
    if (!there) add(a.device.name, revision->hooks[a.hook].interface, "-", "not attached: the next changing command attaches it", false);
  }
  return links;
}

// A part of the status.
struct Described {
  Json json = Json::array();
  std::string text;
};

// What the limits of the generation counted, and how full they are.
Result<Described> describe_limits(const Instance& instance, uint64_t generation, const Revision& revision) {
  Described out;
  TRY_ASSIGN(const LiveLimits live, LiveLimits::open(instance, generation));
  for (const RuleLimit& rule : rule_limits(live, revision.slots)) {
    const LimitUse use = use_of(live, rule.limit);
    const uint32_t entries = rule.limit.flags & (PS_LIMIT_SOURCE | PS_LIMIT_DESTINATION) ? rule.limit.bucket_lines * 2 : 1;
    out.json.push_back({{"rule", rule.name}, {"entries", entries}, {"active", use.active}, {"evicted", use.counts.evicted}, {"banned", use.banned}, {"bans_imposed", use.counts.banned},
                        {"insert_failures", {{"ENOSPC", {{"buckets", use.counts.shared}, {"bans", use.counts.refused}}}}}});
    out.text += fmt::format("  {:<28} {:>9} of {:>9} active, {} made room", rule.name, count_text(use.active), count_text(entries), count_text(use.counts.evicted));
    if (use.counts.shared) out.text += fmt::format(", {} packets found no bucket of their own (ENOSPC)", count_text(use.counts.shared));
    if (rule.limit.ban_lines) out.text += fmt::format("; {} banned now, {} bans imposed", count_text(use.banned), count_text(use.counts.banned));
    if (use.counts.refused) out.text += fmt::format(", {} refused (ENOSPC)", count_text(use.counts.refused));
    out.text += '\n';
  }
  return out;
}

// What SYN proxies do now; an interface's number is its place among those of the file.
Json describe_syn_proxies(const Output& out, const Instance& instance, const Revision& revision) {
  Json all = Json::array();
  std::string text;
  for (uint32_t i = 0; i < revision.hooks.size(); ++i) {
    const HookImage& hook = revision.hooks[i];
    if (hook.raw || hook.behind.empty()) continue;
    const auto now = syn_proxy_now(instance, i);
    if (!now || !*now) continue;
    all.push_back({{"interface", hook.interface}, {"answers", (*now)->answers}, {"syns", (*now)->syns}});
    text += fmt::format("  {:<12} {}\n", hook.interface, (*now)->answers ? out.styled(Style::warning, "answers SYNs with cookies") : fmt::format("quiet, {} SYNs this second", (*now)->syns));
  }
  if (!text.empty()) out.print("\nsyn proxies\n" + text);
  return all;
}

// The flow table, and the backends with the connections that they have.
Result<Described> describe_services(const Instance& instance, uint64_t generation, const Revision& revision) {
  Described out{Json::object(), {}};
  if (revision.backends.empty()) return out;
  TRY_ASSIGN(const FlowsNow flows, flows_now(instance, generation));
  TRY_ASSIGN(const auto states, read_states(instance, generation));
  out.json = {{"flows", {{"places", flows.places}, {"used", flows.used}, {"inserted", flows.counts.inserted}, {"evicted", flows.counts.evicted}, {"refused", flows.counts.refused}}}, {"backends", Json::array()}};
  out.text = fmt::format("  flow table   {} of {} places, {} connections inserted, {} made room, {} found no place\n", count_text(flows.used), count_text(flows.places), count_text(flows.counts.inserted),
                         count_text(flows.counts.evicted), count_text(flows.counts.refused));
  for (const BackendImage& b : revision.backends) {
    const auto live = flows.live.find(b.id);
    const auto found = states.find(b.id);
    const ps_service_state state = found == states.end() ? ps_service_state{} : found->second;
    const uint64_t connections = live == flows.live.end() ? 0 : live->second;
    const char* const health = state_name(std::max(state.health, state.admin));
    out.json["backends"].push_back({{"service", b.service}, {"backend", b.backend}, {"id", b.id}, {"state", health}, {"flows", connections}});
    out.text += fmt::format("  {:<28} {:<12} {:>12} connections\n", b.service + "/" + b.backend, health, count_text(connections));
  }
  return out;
}

int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  auto running = observe(*instance);
  if (!running) return in.out.fail(running.error());
  const uint64_t now = coarse_now();
  const uint64_t active = running->active(now);
  if (running->present && running->state.network != 0 && running->state.network != own_network())
    in.out.warn(Diagnostic{fmt::format("instance {} belongs to another network namespace", instance->name)});
  if (!running->present || (active == 0 && !running->transaction)) {
    in.out.json({{"instance", instance->name}, {"active", false}, {"generation", 0}, {"interfaces", Json::array()}, {"counters", Json::array()}, {"policies", Json::array()}, {"sets", Json::array()}});
    in.out.print("nothing of penstock is attached\n");
    return 0;
  }

  Json json = {{"instance", instance->name}, {"active", active != 0}, {"generation", active}};
  // The newest revision of the active generation knows the places in the file as they were last applied.
  std::optional<Revision> revision;
  for (Revision& r : Revisions(*instance).heads())
    if (r.generation == active && r.status != RevisionStatus::reverted) revision = std::move(r);
  if (revision) {
    auto whole = Revisions(*instance).read(revision->number);
    revision = whole ? std::optional(std::move(*whole)) : std::nullopt;
  }
  if (revision) {
    json["revision"] = revision->number;
    json["file"] = revision->source;
    json["since"] = revision->created;
    in.out.print(fmt::format("revision {} of {}, applied {} by {}\n", revision->number, revision->source, time_text(revision->created), revision->user));
  } else if (active != 0) {
    in.out.print(fmt::format("generation {} runs, but its revision is missing from {}\n", active, instance->state));
  }
  if (running->transaction) {
    const Transaction& t = *running->transaction;
    const std::string before = t.from ? fmt::format("revision {}", t.from) : "nothing attached";
    Json waiting = {{"revision", t.to}, {"previous", t.from}};
    if (t.waiting(now)) {
      const std::chrono::nanoseconds left(t.deadline - now);
      waiting["seconds_left"] = std::chrono::duration<double>(left).count();
      in.out.print(in.out.styled(Style::warning, fmt::format("revision {} waits to be confirmed: {} left, then back to {}\n", t.to, elapsed_text(left), before)));
    } else {
      waiting["seconds_left"] = 0;
      in.out.print(in.out.styled(Style::bad, fmt::format("revision {} was {}: {} runs; the next changing command tidies up\n", t.to,
                                                         t.confirmed() ? "confirmed but not finished" : "not confirmed in time", t.confirmed() ? fmt::format("revision {}", t.to) : before)));
    }
    json["waiting"] = std::move(waiting);
  }

  Links links = describe_links(in.out, *instance, *running, revision ? &*revision : nullptr);
  json["interfaces"] = std::move(links.json);
  in.out.print("\ninterfaces\n" + links.text);

  json["counters"] = Json::array();
  json["policies"] = Json::array();
  json["sets"] = Json::array();
  json["limits"] = Json::array();
  json["syn_proxies"] = Json::array();
  if (revision) {
    auto counters = read_counters(*instance, active, revision->slots);
    if (!counters) return in.out.fail(counters.error());
    std::string text;
    for (size_t i = 0; i < revision->slots.size(); ++i) {
      const Slot& slot = revision->slots[i];
      const ps_counter& c = (*counters)[i];
      json["counters"].push_back({{"interface", slot.interface}, {"policy", slot.policy}, {"rule", slot.rule}, {"service", slot.service}, {"backend", slot.backend}, {"verdict", verdict_name(slot.verdict)},
                                  {"reason", reason_name(slot.reason)}, {"packets", c.packets}, {"bytes", c.bytes}, {"at", slot.at.text()}});
      if (c.packets == 0 && slot.rule.empty() && slot.reason != PS_REASON_DEFAULT) continue;  // exits that nothing took
      text += fmt::format("  {:<8} {:<12} {:<28} {:>14} {:>16}  {}\n", verdict_name(slot.verdict), reason_name(slot.reason), slot.owner(), count_text(c.packets), count_text(c.bytes),
                          in.out.styled(Style::dim, slot.at.text()));
    }
    if (!text.empty()) in.out.print(fmt::format("\n  {:<8} {:<12} {:<28} {:>14} {:>16}  {}\n", "verdict", "reason", "rule", "packets", "bytes", "place") + text);
    json["syn_proxies"] = describe_syn_proxies(in.out, *instance, *revision);
    std::string policies;
    for (const auto& [name, structure] : revision->structures) {
      json["policies"].push_back({{"name", name}, {"structure", structure}});
      policies += fmt::format("  {:<12} {}\n", name, structure);
    }
    if (!policies.empty()) in.out.print("\npolicies\n" + policies);
    std::string sets;
    for (const SetImage& set : revision->sets) {
      json["sets"].push_back({{"name", set.name}, {"elements", set.elements}, {"structure", set.structure}, {"counters", set.counters}});
      sets += fmt::format("  {:<12} {:>12} {:<8}  {}\n", set.name, count_text(set.elements), set.elements == 1 ? "element" : "elements", set.structure);
    }
    if (!sets.empty()) in.out.print("\nsets\n" + sets);
    auto limits = describe_limits(*instance, active, *revision);
    if (!limits) return in.out.fail(limits.error());
    json["limits"] = std::move(limits->json);
    if (!limits->text.empty()) in.out.print("\nlimits\n" + limits->text);
    auto services = describe_services(*instance, active, *revision);
    if (!services) return in.out.fail(services.error());
    json["services"] = std::move(services->json);
    if (!services->text.empty()) in.out.print("\nservices\n" + services->text);
  }
  in.out.json(json);
  return 0;
}

}  // namespace

const Command command_status = {
    .name = "status",
    .summary = "show what runs, where, and what it did with packets",
    .description = "Shows the revision that runs, a change that waits, the devices it is attached to, and what every rule did: packets and bytes by verdict, reason and place in the file. Reads only the kernel and the saved revision; needs no lock.",
    .examples = {{"penstock status --json"}},
    .run = run,
};

}  // namespace penstock
