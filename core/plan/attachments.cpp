#include "core/plan/attachments.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/kernel/bpf.h"

namespace penstock {

bool claims(const HookImage& hook, const Device& device) {
  return std::any_of(hook.match.begin(), hook.match.end(), [&](const std::string& pattern) { return fnmatch(pattern.c_str(), device.name.c_str(), 0) == 0; });
}

void add_raw_hooks(std::vector<HookImage>& hooks, const std::vector<Device>& devices, const std::vector<HookImage>& before) {
  for (size_t i = 0, count = hooks.size(); i < count; ++i) {
    const bool here = std::any_of(devices.begin(), devices.end(), [&](const Device& d) { return !d.ethernet && claims(hooks[i], d); });
    const bool had = std::any_of(before.begin(), before.end(), [&](const HookImage& h) { return h.raw && h.interface == hooks[i].interface; });
    if (!here && !had) continue;
    HookImage twin = hooks[i];
    twin.raw = true;
    hooks.push_back(std::move(twin));
  }
}

Result<std::vector<Attachment>> attachments_of(const std::vector<HookImage>& hooks, const std::vector<Device>& devices) {
  std::vector<Attachment> out;
  for (const Device& device : devices) {
    const HookImage* claimed = nullptr;
    for (size_t i = 0; i < hooks.size(); ++i) {
      if (hooks[i].raw == device.ethernet || !claims(hooks[i], device)) continue;
      if (claimed) {
        Diagnostic d{fmt::format("{} belongs to two interfaces, {} and {}", device.name, claimed->interface, hooks[i].interface)};
        d.at = hooks[i].at;
        d.hint = "narrow one of the patterns";
        return fail(std::move(d));
      }
      claimed = &hooks[i];
      out.push_back({device, i, hooks[i].mode});
    }
  }
  return out;
}

bool mode_satisfies(const std::string& asked, XdpAttach mode) { return asked == "auto" || asked == attach_name(mode); }

std::string link_pin(const Instance& instance, uint32_t ifindex) { return instance.pins(fmt::format("links/xdp-{}", ifindex)); }

namespace {

std::string tc_path(const Instance& instance, uint32_t ifindex) { return instance.pins(fmt::format("links/tc-{}", ifindex)); }

Result<> attach_new(const Instance& instance, const Wanted& w, std::vector<Diagnostic>& warnings) {
  if (w.mode == "offload") return fail(fmt::format("{} cannot run programs in hardware (offload)", w.device.name), "say `xdp: native`");
  auto link = attach_xdp(w.device, w.program, w.mode == "generic" ? XdpAttach::generic : XdpAttach::native);
  if (!link && w.mode == "auto") {
    // A stranger's program is in the way of both modes; then the first error says all.
    if (auto there = query_xdp(w.device.ifindex); there && there->program != 0) return Failure(std::move(link).error());
    auto generic = attach_xdp(w.device, w.program, XdpAttach::generic);
    if (!generic) return Failure(std::move(link).error());
    Diagnostic d{fmt::format("{} runs generic XDP, which is slower: {}", w.device.name, link.error().message())};
    d.detail = link.error().diagnostics.front().detail;
    d.hint = link.error().diagnostics.front().hint;
    warnings.push_back(std::move(d));
    link = std::move(generic);
  }
  if (!link) return Failure(std::move(link).error());
  return pin(link->get(), link_pin(instance, w.device.ifindex));
}

// Looked at before the first attach, which may reset a link for nothing.
Result<> refuse_strangers(const Running& running, const std::vector<Wanted>& wanted) {
  for (const Wanted& w : wanted) {
    const bool ours = std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.info.ifindex == w.device.ifindex; });
    if (ours) continue;
    if (auto there = query_xdp(w.device.ifindex); there && there->program != 0) return fail(stranger(w.device, there->program));
  }
  return {};
}

// Lets the link at `path` run `program`.  False: there is no link.
Result<bool> replace_program(const std::string& path, int program) {
  const auto link = open_pin(path);
  if (!link) return false;
  TRY_ASSIGN(const bpf_prog_info info, program_info(program));
  TRY_ASSIGN(const LinkInfo now, link_info(link->get()));
  if (now.program != info.id) TRY(update_link(link->get(), program));
  return true;
}

Result<> remove_link(const std::string& path) {
  TRY_ASSIGN(const Fd link, open_pin(path));
  TRY(detach_link(link.get()));
  if (unlink(path.c_str()) < 0) return fail_errno(fmt::format("cannot remove {}", path), errno);
  return {};
}

Result<> attach_behind(const Instance& instance, const std::vector<Wanted>& wanted) {
  for (const Wanted& w : wanted) {
    if (w.tc < 0) continue;
    const std::string path = tc_path(instance, w.device.ifindex);
    TRY_ASSIGN(const bool there, replace_program(path, w.tc));
    if (!there) {
      TRY_ASSIGN(const Fd link, attach_tcx(w.device, w.tc));
      TRY(pin(link.get(), path));
    }
    step(fmt::format("attached behind {}", w.device.name));
  }
  return {};
}

Result<> detach_behind(const Instance& instance, const Running& running, const std::vector<Wanted>& wanted) {
  for (const TcLink& there : running.tc_links) {
    const auto want = std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& w) { return w.device.ifindex == there.ifindex; });
    if (there.info.ifindex == 0 || (want != wanted.end() && want->tc >= 0)) continue;
    TRY(remove_link(tc_path(instance, there.ifindex)));
    step(fmt::format("detached behind {}", there.ifindex));
  }
  return {};
}

}  // namespace

Result<std::vector<Diagnostic>> attach_wanted(const Instance& instance, const std::vector<Wanted>& wanted, AttachFailure on_failure) {
  std::vector<Diagnostic> warnings;
  TRY(make_directories(instance.pins("links")));
  TRY_ASSIGN(const Running running, observe(instance));
  if (on_failure == AttachFailure::fatal) TRY(refuse_strangers(running, wanted));
  for (const RunningLink& there : running.links) {
    const auto want = std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& w) { return w.device.ifindex == there.ifindex; });
    const std::string path = link_pin(instance, there.ifindex);
    if (there.info.ifindex == 0) {  // the device is gone: so is the attachment
      unlink(path.c_str());
      continue;
    }
    if (want == wanted.end() || !mode_satisfies(want->mode, there.mode)) {
      TRY(remove_link(path));
      step(fmt::format("detached {}", there.device));
    }
  }
  for (const TcLink& there : running.tc_links)
    if (there.info.ifindex == 0) unlink(tc_path(instance, there.ifindex).c_str());
  TRY(attach_behind(instance, wanted));
  for (const Wanted& w : wanted) {
    TRY_ASSIGN(const bool there, replace_program(link_pin(instance, w.device.ifindex), w.program));
    if (there) {
      step(fmt::format("attached {}", w.device.name));
      continue;
    }
    if (auto attached = attach_new(instance, w, warnings); !attached) {
      if (on_failure == AttachFailure::fatal) return Failure(std::move(attached).error());
      warnings.push_back(std::move(attached).error().diagnostics.front());
      continue;
    }
    step(fmt::format("attached {}", w.device.name));
  }
  TRY(detach_behind(instance, running, wanted));
  return warnings;
}

}  // namespace penstock
