#include "core/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>

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
  const std::string place = at.line ? fmt::format("{}:{}", at.file, at.line) : at.file;
  return text.empty() ? place : fmt::format("{} ({})", text, place);
}

std::string size_text(size_t bytes) {
  if (bytes >= 10 << 20) return fmt::format("{} MiB", bytes >> 20);
  if (bytes >= 10 << 10) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} bytes", bytes);
}

void plan_content(Plan& plan, const Image& image, const std::map<std::string, Part>& before) {
  constexpr const char* undo = "the previous generation";
  for (const auto& [name, part] : image.parts) {
    const auto old = before.find(name);
    if (old == before.end()) {
      plan.actions.push_back({ActionKind::content, '+', name, with_place(part.text, part.at), {}, undo});
    } else if (old->second.digest != part.digest) {
      const std::string text = old->second.text == part.text ? part.text : fmt::format("{} -> {}", old->second.text, part.text);
      plan.actions.push_back({ActionKind::content, '~', name, with_place(text, part.at), {}, undo});
    }
  }
  for (const auto& [name, part] : before)
    if (!image.parts.contains(name)) plan.actions.push_back({ActionKind::content, '-', name, part.text, {}, undo});
}

}  // namespace

Plan make_plan(const Image& image, const std::map<std::string, std::string>& digests, const std::optional<Revision>& current,
               const Running& running, const std::vector<Attachment>& wanted, bool file_changed) {
  Plan plan;
  const bool runs = current && running.state.generation == current->generation &&
                    std::find(running.generations.begin(), running.generations.end(), current->generation) != running.generations.end();
  static const std::map<std::string, std::string> no_digests;
  const auto& before = runs ? current->digests : no_digests;
  plan.reload = !runs ? !image.hooks.empty() : before != digests;
  if (plan.reload) {
    plan_content(plan, image, runs ? current->parts : std::map<std::string, Part>{});
    auto changed = [&](const std::string& key) {
      const auto old = before.find(key);
      return old == before.end() || old->second != digests.at(key);
    };
    for (const TableImage& table : image.tables)
      if (!table.data.empty() && changed("table " + table.map))
        plan.actions.push_back({ActionKind::table, runs ? '~' : '+', table.map,
                                fmt::format("{}{}", table.structure.empty() ? "" : table.structure + ", ", size_text(table.data.size())), {},
                                "freed with its generation"});
    for (const HookImage& hook : image.hooks)
      plan.actions.push_back({ActionKind::program, runs ? '~' : '+', "program of " + hook.interface, "loaded and verified aside", {}, "freed with its generation"});
  }
  for (const Attachment& a : wanted) {
    const auto link = std::find_if(running.links.begin(), running.links.end(),
                                   [&](const RunningLink& l) { return l.ifindex == a.device.ifindex && l.info.ifindex != 0; });
    if (link == running.links.end()) {
      const char* mode = a.mode == "auto" ? "native, or generic where the driver has no XDP" : a.mode.c_str();
      plan.actions.push_back({ActionKind::attach, '+', a.device.name, fmt::format("attach {} ({})", image.hooks[a.hook].interface, mode),
                              a.mode == "generic" ? "" : "the link may reset once", "detach"});
      plan.attach = true;
    } else if (!mode_satisfies(a.mode, link->mode)) {
      plan.actions.push_back({ActionKind::attach, '~', a.device.name, fmt::format("{} -> {}", attach_name(link->mode), a.mode),
                              "for a moment no program judges this device, and the link may reset", "the previous mode"});
      plan.reload = true;
    } else if (plan.reload) {
      plan.actions.push_back({ActionKind::replace, '~', a.device.name, "replace the program in place", {}, "the previous program"});
    }
  }
  for (const RunningLink& link : running.links) {
    const bool keep = std::any_of(wanted.begin(), wanted.end(), [&](const Attachment& a) { return a.device.ifindex == link.ifindex; });
    if (keep || link.info.ifindex == 0) continue;
    plan.actions.push_back({ActionKind::detach, '-', link.device, "detach", "everything passes on this device", "attach"});
    plan.attach = true;
  }
  if (runs && !plan.reload && image.hooks.empty() != current->hooks.empty()) plan.reload = true;
  if (plan.actions.empty() && file_changed)
    plan.actions.push_back({ActionKind::record, '~', "revision", "the file changed, what it means did not: only the file is saved", {}, "rollback"});
  return plan;
}

}  // namespace penstock
