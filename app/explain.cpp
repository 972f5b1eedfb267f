#include "app/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/compile.h"
#include "app/limits.h"
#include "app/prepare.h"
#include "features/policy/explain.h"
#include "features/services/explain.h"
#include "features/sets/explain.h"

namespace penstock {
namespace {

// An exit that no rule decided, in words.
Step exit_step(const Slot& slot, const ps_packet& packet, const std::vector<const Policy*>& policies) {
  if (slot.reason == PS_REASON_MALFORMED || slot.reason == PS_REASON_NOT_IP || slot.reason == PS_REASON_NO_POLICY) {
    const char* stage = slot.reason == PS_REASON_NO_POLICY ? "policy" : "parse";
    std::string tags;
    for (unsigned i = 0; i < packet.vlans && i < 2; ++i) tags += fmt::format("VLAN {}, ", packet.vlan[i] & 0xfff);
    return {stage, fmt::format("{}{}: {}", tags, reason_text(slot.reason), verdict_name(slot.verdict)), slot.at};
  }
  if (slot.reason == PS_REASON_NOT_WIREGUARD) return {"wireguard", fmt::format("{}: {}", reason_text(slot.reason), verdict_name(slot.verdict)), slot.at};
  if (!slot.service.empty())
    return {"services", fmt::format("{}: {}: {}", slot.backend.empty() ? slot.service : slot.service + "/" + slot.backend, reason_text(slot.reason), verdict_name(slot.verdict)), slot.at};
  if (slot.rule.empty() && !slot.policy.empty()) return default_step(policies, slot);
  return {"exit", fmt::format("{}: {}", reason_text(slot.reason), verdict_name(slot.verdict)), slot.at};
}

std::span<const ps_trace_event> events_of(const ps_trace& trace) {
  return {trace.event, std::min<size_t>(trace.events, PS_TRACE_EVENTS_MAX)};
}

}  // namespace

const std::vector<Prefix>* Explainer::list(uint32_t index) {
  if (!lists_) {
    lists_ = image_.lists;
    // The image of what runs does not have them; compiling what it was made of gives the same indexes.
    Known known;
    if (const auto most = most_rule_entries(); most) known.rule_entries = *most;
    if (lists_->empty())
      if (auto again = compile(config_, known)) lists_ = std::move(again->lists);
  }
  const auto found = lists_->find(index);
  return found == lists_->end() ? nullptr : &found->second;
}

Result<Explanation> Explainer::explain(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now) {
  Explanation out;
  TRY_ASSIGN(out.judged, replay_.run(hook, packet, raw, now));
  const ps_trace trace = replay_.trace();
  const auto policies = policies_on(config_.policies, image_.hooks[hook].interface);
  const std::vector<Teller> tellers = {
      tell_sets({&config_.sets, &image_.sets, [this](uint32_t index) { return list(index); }, config_.text}),
      tell_policies(policies, image_.slots),
      tell_limits(limit_by_id(config_, image_.slots)),
      tell_services(config_.services, image_.backends),
  };
  if (trace.packet.outer.flags & (PS_IPV4 | PS_IPV6) && trace.events > 0) out.steps.push_back({"parse", packet_text(trace.packet)});
  bool told = false;  // by a rule: its exit says nothing new
  const auto events = events_of(trace);
  for (size_t i = 0; i < events.size(); ++i) {
    const ps_trace_event& event = events[i];
    if (event.kind == PS_TRACE_QUOTE) {
      const ps_datagram& quoted = trace.packet.quoted;
      out.steps.push_back({"parse", quoted.flags ? "it quotes " + datagram_text(quoted) : "what it quotes makes no sense"});
      continue;
    }
    if (event.kind == PS_TRACE_EXIT) {
      const auto slot = std::ranges::find(image_.slots, event.value[0], &Slot::number);
      if (slot == image_.slots.end())
        out.steps.push_back(plain_step(event));
      else if (!told || slot->reason != PS_REASON_RULE)
        out.steps.push_back(exit_step(*slot, trace.packet, policies));
      told = false;
      continue;
    }
    told = told || event.kind == PS_TRACE_RULE;
    std::optional<Step> step;
    for (const Teller& tell : tellers)
      if (!step) step = tell(event, trace.packet);
    out.steps.push_back(step ? std::move(*step) : plain_step(event));
  }
  // No program ran on a frame that short; the exit was found without one.
  if (trace.events == 0 && out.judged.decided) out.steps.push_back(exit_step(*out.judged.decided, ps_packet{}, policies));
  if (trace.events > events.size()) out.steps.push_back({"exit", fmt::format("{} more events are not shown", trace.events - events.size())});
  if (std::ranges::any_of(events, [](const ps_trace_event& e) { return e.kind == PS_TRACE_POLICY; }))
    TRY(find_also(hook, packet, raw, now, policies.size(), out));
  return out;
}

// Runs the packet again, each time from behind the last match; what decided the first time is left out.
Result<> Explainer::find_also(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now, size_t policies, Explanation& out) {
  std::vector<uint32_t> seen;
  for (const ps_trace_event& e : events_of(replay_.trace()))
    if (e.kind == PS_TRACE_RULE) seen.push_back(e.value[1]);
  for (uint32_t policy = 0; policy < policies; ++policy) {
    uint32_t entry = 0;
    for (bool found = true; found;) {
      TRY(replay_.run(hook, packet, raw, now, {policy, entry}));
      found = false;
      bool here = false;  // in this policy, not in those behind it
      for (const ps_trace_event& e : events_of(replay_.trace())) {
        if (e.kind == PS_TRACE_POLICY) here = e.value[0] == policy;
        if (e.kind != PS_TRACE_RULE || !here) continue;
        found = true;
        entry = e.value[0] + 1;
        if (std::ranges::find(seen, e.value[1]) != seen.end()) continue;  // a rule may be several entries
        seen.push_back(e.value[1]);
        if (out.also.size() == most_also) {
          out.more = true;
          return {};
        }
        if (const auto slot = std::ranges::find(image_.slots, e.value[1], &Slot::number); slot != image_.slots.end()) out.also.push_back(&*slot);
      }
    }
  }
  return {};
}

Result<ExplainSource> ExplainSource::of_running(const Instance& instance) {
  ExplainSource out;
  TRY_ASSIGN(const Running running, observe(instance));
  TRY_ASSIGN(RunningImage image, running_image(instance, running));
  out.running = std::make_unique<RunningImage>(std::move(image));
  TRY_ASSIGN(out.config, config_of(instance, out.running->revision));
  out.running->image.sets = out.running->revision.sets;
  // Slots keep the file's name as it was given to apply.
  for (Slot& slot : out.running->image.slots)
    if (slot.at.known()) slot.at.file = out.config.file;
  ReplayOptions options{.world = World::live, .events = true, .shared = {}, .core = out.running->core};
  for (const auto& [name, map] : out.running->maps) options.shared[name] = map.get();
  TRY_ASSIGN(Replay replay, Replay::open(out.running->image, options));
  out.replay = std::make_unique<Replay>(std::move(replay));
  for (size_t i = 0; i < out.running->programs.size(); ++i) {
    TRY_ASSIGN(const bool same, same_program(out.running->programs[i].get(), out.replay->program(i)));
    bool behind = true;
    if (const auto tc = out.running->behind.find(i); tc != out.running->behind.end()) {
      TRY_ASSIGN(behind, same_program(tc->second.get(), out.replay->behind(i)));
    }
    if (!same || !behind) return fail("what runs was loaded by another version of penstock: this one cannot speak for it", "apply again, or name a file with --file");
  }
  return out;
}

Result<ExplainSource> ExplainSource::of_file(const std::string& file) {
  ExplainSource out;
  TRY_ASSIGN(out.config, load_config(file));
  Known known;
  TRY_ASSIGN(known.rule_entries, most_rule_entries());
  TRY_ASSIGN(Image image, compile(out.config, known));
  out.image = std::make_unique<Image>(std::move(image));
  TRY_ASSIGN(Replay replay, Replay::open(*out.image, {.world = World::live, .events = true}));
  out.replay = std::make_unique<Replay>(std::move(replay));
  return out;
}

std::string source_line(const Config& config, const Location& at) {
  Error error(Diagnostic{.message = {}, .at = at});
  quote_source(error, config);
  std::string line = error.diagnostics.front().source_line;
  line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
  return line;
}

std::string verdict_text(const Judged& judged) {
  std::string out = verdict_name(judged.verdict);
  const Slot* slot = judged.decided;
  if (!slot) return out + ", decided by nobody";
  out += fmt::format(", reason {}", reason_name(slot->reason));
  if (!slot->service.empty()) out += fmt::format(", by service {}{}", slot->service, slot->backend.empty() ? "" : ", backend " + slot->backend);
  if (!slot->policy.empty())
    out += slot->rule.empty() ? fmt::format(", by the default of policy {}", slot->policy) : fmt::format(", by rule {}/{}", slot->policy, slot->rule);
  if (slot->at.known()) out += fmt::format(" ({})", slot->at.text());
  return out;
}

std::vector<std::string> explanation_lines(const Explanation& explanation, const Config& config) {
  std::vector<std::string> out;
  const auto source = [&](const Location& at) {
    if (const std::string line = source_line(config, at); !line.empty()) out.push_back(fmt::format("            {} | {}", at.line, line));
  };
  for (const Step& step : explanation.steps)
    out.push_back(fmt::format("{:<9} {}{}", step.stage, step.text, step.at.known() ? fmt::format("  ({})", step.at.text()) : ""));
  const Judged& judged = explanation.judged;
  out.push_back(fmt::format("{:<9} {}", "verdict", verdict_text(judged)));
  if (judged.decided) source(judged.decided->at);
  if (judged.audited) out.push_back(fmt::format("{:<9} policy {} would drop it, but only counts", "audit", judged.audited->policy));
  if (explanation.also.empty()) return out;
  out.push_back("these rules match it too, in order:");
  for (const Slot* slot : explanation.also) {
    out.push_back(fmt::format("{:<9} {}/{}: {}  ({})", "", slot->policy, slot->rule, verdict_name(slot->verdict), slot->at.text()));
    source(slot->at);
  }
  if (explanation.more) out.push_back(fmt::format("{:<9} and more", ""));
  return out;
}

}  // namespace penstock
