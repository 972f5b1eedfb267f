#include "core/plan/devices.h"

#include <fmt/format.h>

#include <algorithm>

namespace penstock {
namespace {

std::string driver_text(const DeviceInfo& info) { return info.driver.empty() ? "a device without a driver of its own" : "driver " + info.driver; }

}  // namespace

Result<Facts> facts_of(const Instance& instance, const std::vector<Attachment>& wanted, const Running& running) {
  Facts facts;
  TRY_ASSIGN(facts.remembered, remembered_settings(instance));
  for (const Attachment& a : wanted) {
    DeviceFacts f;
    TRY_ASSIGN(f.info, device_info(a.device));
    f.xdp = xdp_features(a.device);
    if (auto programs = tc_programs(a.device)) f.tc = std::move(*programs);
    const auto own = std::ranges::find(running.tc_links, a.device.ifindex, [](const TcLink& l) { return l.info.ifindex; });
    if (own != running.tc_links.end()) std::erase_if(f.tc, [&](const TcProgram& p) { return p.id == own->info.program; });
    const bool ours = std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.info.ifindex == a.device.ifindex; });
    if (auto attached = query_xdp(a.device.ifindex); !ours && attached && attached->program != 0) f.stranger = describe_program(attached->program);
    facts.devices[a.device.ifindex] = std::move(f);
  }
  return facts;
}

std::string mode_outlook(const Attachment& wanted, const DeviceFacts* facts) {
  if (wanted.mode != "auto") return wanted.mode;
  if (!facts || !facts->xdp) return "native, or generic where the driver has no XDP; this kernel does not tell before";
  return facts->xdp->native ? "native" : fmt::format("generic: {} offers no native XDP", driver_text(facts->info));
}

std::optional<Diagnostic> mode_warning(const Attachment& wanted, const DeviceFacts* facts, const Location& at) {
  if (!facts || !facts->xdp || facts->xdp->native || (wanted.mode != "auto" && wanted.mode != "native")) return {};
  Diagnostic d{wanted.mode == "auto" ? fmt::format("{} will run generic XDP, which is slower: {} offers no native XDP now", wanted.device.name, driver_text(facts->info))
                                     : fmt::format("{} will refuse native XDP: {} offers none now", wanted.device.name, driver_text(facts->info))};
  d.at = at;
  d.hint = fmt::format("`penstock doctor {}` shows its limits; say `xdp: generic` if that is what you want", wanted.device.name);
  return d;
}

std::vector<Setting> needed_settings(const Device& device, const DeviceInfo& info, std::vector<Diagnostic>& fixed) {
  std::vector<Setting> out;
  for (const Offload& o : info.offloads) {
    if (!o.on) continue;
    if (!o.fixed) {
      out.push_back({device.ifindex, device.name, o.name, true, 0});
      continue;
    }
    Diagnostic d{fmt::format("{}: {} is on and {} does not let it be switched off: {}", device.name, o.name, driver_text(info),
                             o.tags ? "VLAN tags do not reach the programs" : "merged frames are judged and counted as one")};
    d.hint = "turn it off where it is made: in the hypervisor or in the driver's parameters";
    fixed.push_back(std::move(d));
  }
  return out;
}

Result<> require_offload(const Attachment& wanted, const DeviceFacts* facts, const Location& at) {
  if (wanted.mode != "offload") return {};
  Diagnostic d{facts && facts->xdp && facts->xdp->hardware ? fmt::format("{} could run programs in hardware, but policies, sets and counters cannot", wanted.device.name)
                                                            : fmt::format("{} cannot run programs in hardware (xdp: offload): {} does not offer it", wanted.device.name,
                                                                          facts ? driver_text(facts->info) : "its driver")};
  d.at = at;
  d.hint = "say `xdp: native`";
  return fail(std::move(d));
}

}  // namespace penstock
