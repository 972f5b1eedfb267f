#include "app/compile.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>

#include "app/limits.h"
#include "app/health.h"
#include "bpf/answer.h"
#include "bpf/hook.h"
#include "core/kernel/objects.h"
#include "features/limits/compile.h"
#include "features/policy/compile.h"
#include "features/policy/rule_text.h"
#include "features/receive/compile.h"
#include "features/sets/compile.h"
#include "features/syn_proxy/compile.h"
#include "features/wireguard/compile.h"

namespace penstock {
namespace {

std::string digest(const std::string& text) {
  const XXH128_hash_t h = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}
std::string digest(const std::vector<Prefix>& prefixes) {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  for (const Prefix& p : prefixes) {  // field by field: a struct has holes
    const uint64_t words[3] = {p.address.hi, p.address.lo, p.length};
    XXH3_128bits_update(state.get(), words, sizeof words);
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

std::string count_text(size_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string limit_text_of(const Rule& rule) {
  const Limit* limit = rule.extensions.get<Limit>();
  return limit ? "; limit " + limit_text(*limit) : std::string();
}

// What the plan compares, part by part.
std::map<std::string, Part> parts_of(const Config& config) {
  std::map<std::string, Part> parts;
  for (const Interface& i : config.interfaces) {
    std::string match;
    for (const std::string& pattern : i.match) match += (match.empty() ? "" : ", ") + pattern;
    std::string more;
    if (const auto* guard = i.extensions.get<WireGuard>()) more += ", wireguard " + wireguard_text(*guard);
    if (const auto* proxy = i.extensions.get<SynProxy>()) more += ", syn-proxy " + syn_proxy_text(*proxy);
    parts["interface " + i.name] = {digest(fmt::format("{} {} {}{}", match, static_cast<int>(i.xdp), static_cast<int>(i.malformed), more)), i.at, match + more};
  }
  if (config.receive) parts["receive"] = {digest(receive_text(*config.receive)), config.receive->at, receive_text(*config.receive)};
  for (const Set& s : config.sets) {
    if (s.of_ports()) {
      std::string ports;
      for (const NumberRange& r : s.ports) ports += fmt::format("{}-{},", r.first, r.last);
      parts["set " + s.name] = {digest(ports), s.at, fmt::format("{} range{} of ports", s.ports.size(), s.ports.size() == 1 ? "" : "s")};
      continue;
    }
    parts["set " + s.name] = {digest(s.prefixes) + (s.counters ? " counters" : ""), s.at,
                              count_text(s.prefixes.size()) + (s.prefixes.size() == 1 ? " element" : " elements")};
  }
  for (const Policy& p : config.policies) {
    std::string order;
    for (const Attach& a : p.attach) order += a.interface + ",";
    for (const Rule& r : p.rules) order += r.name + ",";
    parts["policy " + p.name] = {digest(fmt::format("{} {} {}", order, static_cast<int>(p.mode), action_text(p.default_action))), p.at,
                                 fmt::format("{} rule{}, default {}{}", p.rules.size(), p.rules.size() == 1 ? "" : "s", action_text(p.default_action), p.mode == Mode::audit ? ", audit" : "")};
    for (const Rule& r : p.rules)
      parts[fmt::format("rule {}/{}", p.name, r.name)] = {
          digest(rule_text(r) + limit_text_of(r)), r.at, action_text(r.action)};
  }
  for (const Service& s : config.services) {
    std::string frontends;
    for (const Frontend& f : s.frontends) frontends += (frontends.empty() ? "" : ", ") + f.text();
    parts["service " + s.name] = {digest(service_text(s) + health_text_of(s)), s.at, frontends};
    for (const Backend& b : s.backends) parts[fmt::format("backend {}/{}", s.name, b.name)] = {digest(backend_text(b)), b.at, backend_text(b)};
  }
  if (!config.services.empty()) parts["flows"] = {digest(fmt::format("{} {} {} {}-{}", config.flows.entries, config.flows.tcp_idle, config.flows.udp_idle, config.flows.source_ports.first, config.flows.source_ports.last)), {}, count_text(config.flows.entries) + " entries"};
  return parts;
}

const char* text_of(XdpMode mode) {
  switch (mode) {
    case XdpMode::automatic: return "auto";
    case XdpMode::native: return "native";
    case XdpMode::generic: return "generic";
    case XdpMode::offload: return "offload";
  }
  return "auto";
}

ps_answer_const answer_constants(const Known& known, const std::string& interface) {
  ps_answer_const out{};
  out.on = 1;
  const auto own = known.addresses.find(interface);
  if (own == known.addresses.end()) return out;
  if (own->second.v4) out.v4 = own->second.v4->v4();
  if (own->second.v6) out.v6 = {own->second.v6->hi, own->second.v6->lo};
  return out;
}

}  // namespace

Result<Image> compile(const Config& config, const Known& known) {
  Image image;
  SlotTable slots(known.slots);
  SetRegistry registry;
  auto parts = std::async(std::launch::async, [&] { return parts_of(config); });  // which need nothing that follows
  std::vector<std::string> interfaces;
  for (const Interface& i : config.interfaces) interfaces.push_back(i.name);
  // Every named set has a table, used by a rule or not: run-time commands find it.
  for (const Set& s : config.sets) {
    if (s.of_ports()) continue;
    registry.named(s.name);
    if (s.counters) registry.count_hits(s.name);
  }
  LimitTable limits(known.limits, known.sets.lanes);
  const LimitOf limit_of = [&](const Rule& rule, uint32_t over, uint32_t banned, uint32_t id) {
    return limits.add(*rule.extensions.get<Limit>(), rule.action == Action::accept, over, banned, id);
  };
  TRY_ASSIGN(PolicyTables policies, compile_policies(config.policies, interfaces, known.rule_entries, registry, slots, limit_of));
  std::map<std::string, ps_wireguard_const> guards;   // by interface
  for (const Interface& i : config.interfaces)
    if (const auto* guard = i.extensions.get<WireGuard>())
      guards[i.name] = compile_wireguard(*guard, i.name, slots, [&](const WireGuard& wireguard, uint32_t slot) {
        return limits.add(handshake_limit(wireguard), false, slot, slot, slot);
      });
  std::map<std::string, ps_receive_const> receivers;  // by interface; before the sets are compiled: it asks for some
  for (const Interface& i : config.interfaces)
    if (config.receive && config.receive->stands_on(i.name))
      receivers[i.name] = compile_receive(*config.receive, i.name, i.malformed == Malformed::drop ? PS_DROP : PS_PASS, registry, slots);
  limits.place();
  ServiceTables services = compile_services(config.services, config.flows, interfaces, known.services, registry, slots);
  TRY_ASSIGN(CompiledSets sets, compile_sets(registry.used(), config.sets, known.sets));
  image.sizes = std::move(sets.sizes);
  image.sizes.merge(policies.sizes);
  image.sizes.merge(syn_proxy_sizes(std::ranges::any_of(config.interfaces, [](const Interface& i) { return i.extensions.get<SynProxy>() != nullptr; })));
  image.sizes.merge(services.sizes);
  const auto answers = [&](size_t hook) { return policies.hooks[hook].rejects || services.constants.on; };
  image.sizes["answer_rate"] = 0;
  image.tables = std::move(policies.tables);
  for (TableImage& table : services.tables) image.tables.push_back(std::move(table));
  image.backends = std::move(services.backends);
  image.structures = std::move(policies.structures);
  std::vector<ps_limit> limit_table = limits.limits();
  if (limit_table.empty()) limit_table.emplace_back();  // a map has at least one entry
  image.tables.push_back({"limits", sizeof(ps_limit), bytes_of(limit_table), {}});
  image.sizes["limit_lines"] = limits.lines();
  for (TableImage& table : sets.tables) image.tables.push_back(std::move(table));
  image.sets = std::move(sets.sets);
  for (size_t i = 0; i < config.interfaces.size(); ++i) {
    const Interface& interface = config.interfaces[i];
    auto slot = [&](ps_verdict verdict, ps_reason reason) { return slots.intern({0, interface.name, {}, {}, verdict, reason, interface.at}); };
    ps_hook_const constants{};
    constants.interface = static_cast<uint32_t>(i);
    constants.malformed = interface.malformed == Malformed::drop ? PS_DROP : PS_PASS;
    constants.slot_malformed = slot(static_cast<ps_verdict>(constants.malformed), PS_REASON_MALFORMED);
    constants.slot_not_ip = slot(PS_PASS, PS_REASON_NOT_IP);
    constants.slot_no_policy = slot(PS_PASS, PS_REASON_NO_POLICY);
    HookImage hook;
    hook.interface = interface.name;
    hook.match = interface.match;
    hook.mode = text_of(interface.xdp);
    hook.at = interface.at;
    hook.constants["hook_const"] = bytes_of(constants);
    hook.constants["policy_const"] = bytes_of(policies.hooks[i]);
    hook.constants["set_const"] = bytes_of(sets.constants);
    hook.constants["limit_const"] = bytes_of(ps_limit_const{limits.flags()});
    if (answers(i)) {
      hook.constants["answer_const"] = bytes_of(answer_constants(known, interface.name));
      image.sizes["answer_rate"] = PS_ANSWER_LANES;
    }
    if (services.constants.on) hook.constants["service_const"] = bytes_of(services.constants);
    if (services.nat.on) hook.constants["nat_const"] = bytes_of(services.nat);
    if (const auto* proxy = interface.extensions.get<SynProxy>()) {
      const auto mtu = known.mtu.find(interface.name);
      compile_syn_proxy(*proxy, known.tcp, mtu == known.mtu.end() ? 1500 : mtu->second, slots, hook);
    }
    if (const auto guard = guards.find(interface.name); guard != guards.end()) hook.constants["wireguard_const"] = bytes_of(guard->second);
    if (const auto receiver = receivers.find(interface.name); receiver != receivers.end()) hook.constants["receive_const"] = bytes_of(receiver->second);
    image.hooks.push_back(std::move(hook));
  }
  for (uint32_t i = 0; i < registry.used().size(); ++i)
    if (const SetUse& use = registry.used()[i]; use.name.empty()) image.lists[i] = use.prefixes;
  image.slots = slots.used();
  image.slot_end = slots.end();
  image.parts = parts.get();
  return image;
}

}  // namespace penstock
