#include "core/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace penstock {

const char* action_name(ActionKind kind) {
  switch (kind) {
    case ActionKind::content: return "content";
    case ActionKind::table: return "table";
    case ActionKind::program: return "program";
    case ActionKind::setting: return "setting";
    case ActionKind::attach: return "attach";
    case ActionKind::replace: return "replace";
    case ActionKind::detach: return "detach";
    case ActionKind::record: return "record";
  }
  return "content";
}

namespace {

std::string with_place(const std::string& text, const Location& at) {
  if (!at.known()) return text;
  const std::string place = at.line ? fmt::format("{}:{}", at.file.text(), at.line) : at.file.text();
  return text.empty() ? place : fmt::format("{} ({})", text, place);
}

std::string size_text(size_t bytes) {
  if (bytes >= 10 << 20) return fmt::format("{} MiB", bytes >> 20);
  if (bytes >= 10 << 10) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} bytes", bytes);
}

void plan_content(Plan& plan, const Image& image, const std::map<std::string, Part>& before) {
  constexpr const char* undo = "the previous generation";
  std::vector<PlanAction> gone;
  auto old = before.begin();  // both are in the order of their names
  const auto leave = [&] {
    gone.push_back({ActionKind::content, '-', old->first, old->second.text, {}, undo});
    ++old;
  };
  for (const auto& [name, part] : image.parts) {
    while (old != before.end() && old->first < name) leave();
    if (old == before.end() || old->first != name) {
      plan.actions.push_back({ActionKind::content, '+', name, with_place(part.text, part.at), {}, undo});
      continue;
    }
    if (old->second.digest != part.digest) {
      const std::string text = old->second.text == part.text ? part.text : fmt::format("{} -> {}", old->second.text, part.text);
      plan.actions.push_back({ActionKind::content, '~', name, with_place(text, part.at), {}, undo});
    }
    ++old;
  }
  while (old != before.end()) leave();
  std::ranges::move(gone, std::back_inserter(plan.actions));
}

const DeviceFacts* facts_for(const Facts& facts, uint32_t ifindex) {
  const auto found = facts.devices.find(ifindex);
  return found == facts.devices.end() ? nullptr : &found->second;
}

// Settings come before links: what is switched off would hide frames from the programs.
void plan_settings(Plan& plan, const std::vector<Attachment>& wanted, const Running& running, const Facts& facts) {
  for (const NeededSetting& needed : facts.missing) {
    plan.actions.push_back({ActionKind::setting, '~', needed.setting.device.empty() ? "sysctl" : needed.setting.device, needed.text, {}, "undone when it is not needed any more"});
    plan.settings.push_back(needed.setting);
  }
  for (const Attachment& a : wanted) {
    const DeviceFacts* f = facts_for(facts, a.device.ifindex);
    if (!f) continue;
    std::vector<Diagnostic> fixed;
    for (Setting& s : needed_settings(a.device, f->info, fixed)) {
      const bool tags = s.feature.starts_with("rx-vlan");
      plan.actions.push_back({ActionKind::setting, '~', a.device.name, fmt::format("{} on -> off: {}", s.feature, tags ? "tags must reach XDP" : "XDP must see single frames"),
                              "the link may reset", "on again when penstock leaves"});
      plan.settings.push_back(std::move(s));
    }
    const bool attached = std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.info.ifindex == a.device.ifindex; });
    if (!attached || plan.reload) plan.warnings.insert(plan.warnings.end(), fixed.begin(), fixed.end());
    if (!f->stranger.empty())
      plan.warnings.push_back({.message = fmt::format("{} has an XDP program that is not this instance's: {}; the attach will fail", a.device.name, f->stranger),
                               .hint = fmt::format("remove it with its own tool (or `ip link set dev {} xdp off`), or leave {} out of the file", a.device.name, a.device.name)});
    if (!f->tc.empty()) plan.notes.push_back(fmt::format("{}: penstock's program runs first, in XDP; behind it {}", a.device.name, tc_order_text(f->tc)));
  }
  for (const Setting& s : facts.remembered) {
    if (s.kind != SettingKind::offload) {
      if (std::ranges::find(facts.needs, s.key()) == facts.needs.end())
        plan.actions.push_back({ActionKind::setting, '~', s.device.empty() ? "sysctl" : s.device, s.kind == SettingKind::sysctl ? fmt::format("{} {} -> {}, as it was", s.feature, s.after, s.before) : fmt::format("the neighbour {} is not kept resolved any more", s.feature), {}, {}});
      continue;
    }
    const bool keep = std::any_of(wanted.begin(), wanted.end(), [&](const Attachment& a) { return a.device.ifindex == s.ifindex; });
    if (!keep)
      plan.actions.push_back({ActionKind::setting, '~', s.device, fmt::format("{} {} -> {}, as it was", s.feature, s.original ? "off" : "on", s.original ? "on" : "off"),
                              "the link may reset", ""});
  }
}

// What stands at the tc ingress comes and goes with the interface's XDP program.
void plan_behind(Plan& plan, const Image& image, const std::vector<Attachment>& wanted, const Running& running) {
  const auto there = [&](uint32_t ifindex) { return std::ranges::any_of(running.tc_links, [&](const TcLink& l) { return l.info.ifindex == ifindex; }); };
  for (const Attachment& a : wanted) {
    const bool wants = !image.hooks[a.hook].behind.empty();
    if (wants && !there(a.device.ifindex)) {
      plan.actions.push_back({ActionKind::attach, '+', a.device.name, "attach to the tc ingress, in front of others and in the place of none", {}, "detach"});
      plan.attach = true;
    } else if (wants && plan.reload) {
      plan.actions.push_back({ActionKind::replace, '~', a.device.name, "replace the program at the tc ingress in place", {}, "the previous program"});
    } else if (!wants && there(a.device.ifindex)) {
      plan.actions.push_back({ActionKind::detach, '-', a.device.name, "detach from the tc ingress", "handshakes that were answered with cookies a moment ago are reset", "attach"});
      plan.attach = true;
    }
  }
  for (const TcLink& link : running.tc_links)
    if (link.info.ifindex != 0 && std::ranges::none_of(wanted, [&](const Attachment& a) { return a.device.ifindex == link.info.ifindex; }))
      plan.actions.push_back({ActionKind::detach, '-', device_name(link.info.ifindex), "detach from the tc ingress", {}, "attach"});
}

// Only devices change: the same programs once more, as a generation of their own, so that this can be taken back too.
void plan_same_again(Plan& plan, const Image& image, const std::vector<Attachment>& wanted, const Running& running) {
  plan.reload = true;
  for (const HookImage& hook : image.hooks)
    plan.actions.push_back({ActionKind::program, '~', "program of " + hook.interface, "once more, for a generation that can be taken back", {}, "freed with its generation"});
  for (const Attachment& a : wanted)
    if (std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.ifindex == a.device.ifindex && l.info.ifindex != 0; }))
      plan.actions.push_back({ActionKind::replace, '~', a.device.name, "replace the program in place", {}, "the previous program"});
}

}  // namespace

Plan make_plan(const Image& image, const std::map<std::string, std::string>& digests, const std::optional<Revision>& current,
               const Running& running, const std::vector<Attachment>& wanted, bool file_changed, const Facts& facts, const std::string& code) {
  Plan plan;
  const bool runs = current && running.state.generation == current->generation &&
                    std::find(running.generations.begin(), running.generations.end(), current->generation) != running.generations.end();
  static const std::map<std::string, std::string> no_digests;
  static const std::map<std::string, Part> no_parts;
  const auto& before = runs ? current->digests : no_digests;
  plan.reload = !runs ? !image.hooks.empty() : before != digests;
  bool same_programs = runs && current->code == code;  // only their tables change
  if (plan.reload) {
    plan_content(plan, image, runs ? current->parts : no_parts);
    auto changed = [&](const std::string& key) {
      const auto old = before.find(key);
      return old == before.end() || old->second != digests.at(key);
    };
    // A table that holds nothing is news only where it held something.
    auto tells = [&](const TableImage& table) { return runs ? !table.data.empty() : std::ranges::any_of(table.data, [](std::byte b) { return b != std::byte{}; }); };
    for (const TableImage& table : image.tables)
      if (tells(table) && changed("table " + table.map))
        plan.actions.push_back({ActionKind::table, runs ? '~' : '+', table.map,
                                fmt::format("{}{}", table.structure.empty() ? "" : table.structure + ", ", size_text(table.data.size())), {},
                                "freed with its generation"});
    for (const HookImage& hook : image.hooks) same_programs = same_programs && !changed(hook_key(hook));
    for (const HookImage& hook : image.hooks)
      if (!same_programs) plan.actions.push_back({ActionKind::program, runs ? '~' : '+', "program of " + hook.interface,
                              hook.raw ? "for frames without an Ethernet header, loaded and verified aside" : "loaded and verified aside", {}, "freed with its generation"});
    for (const HookImage& hook : image.hooks)
      if (!hook.behind.empty())
        plan.actions.push_back({ActionKind::program, runs ? '~' : '+', "program behind " + hook.interface, "for the tc ingress, loaded and verified aside", {}, "freed with its generation"});
  }
  plan_settings(plan, wanted, running, facts);
  for (const Attachment& a : wanted) {
    const DeviceFacts* f = facts_for(facts, a.device.ifindex);
    const auto link = std::find_if(running.links.begin(), running.links.end(),
                                   [&](const RunningLink& l) { return l.ifindex == a.device.ifindex && l.info.ifindex != 0; });
    if (link == running.links.end()) {
      const bool generic = a.mode == "generic" || (a.mode == "auto" && f && f->xdp && !f->xdp->native);
      plan.actions.push_back({ActionKind::attach, '+', a.device.name, fmt::format("attach {} ({})", image.hooks[a.hook].interface, mode_outlook(a, f)),
                              generic ? "" : "the link may reset once", "detach"});
      if (auto warning = mode_warning(a, f, image.hooks[a.hook].at)) plan.fallbacks.push_back(std::move(*warning));
      plan.attach = true;
    } else if (!mode_satisfies(a.mode, link->mode)) {
      plan.actions.push_back({ActionKind::attach, '~', a.device.name, fmt::format("{} -> {}", attach_name(link->mode), a.mode),
                              "for a moment no program judges this device, and the link may reset", "the previous mode"});
      plan.reload = true;
    } else if (plan.reload) {
      plan.actions.push_back({ActionKind::replace, '~', a.device.name, same_programs ? "switch to the new tables" : "replace the program in place", {},
                              same_programs ? "the previous tables" : "the previous program"});
    }
  }
  for (const RunningLink& link : running.links) {
    const bool keep = std::any_of(wanted.begin(), wanted.end(), [&](const Attachment& a) { return a.device.ifindex == link.ifindex; });
    if (keep || link.info.ifindex == 0) continue;
    plan.actions.push_back({ActionKind::detach, '-', link.device, "detach", "everything passes on this device", "attach"});
    plan.attach = true;
  }
  plan_behind(plan, image, wanted, running);
  if (runs && !plan.reload && image.hooks.empty() != current->hooks.empty()) plan.reload = true;
  if (!plan.reload && (plan.attach || !plan.settings.empty())) plan_same_again(plan, image, wanted, running);
  if (plan.actions.empty() && file_changed)
    plan.actions.push_back({ActionKind::record, '~', "revision", "the file changed, what it means did not: only the file is saved", {}, "rollback"});
  return plan;
}

}  // namespace penstock
