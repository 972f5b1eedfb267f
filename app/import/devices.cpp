#include "app/import/devices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace penstock::foreign {
namespace {

constexpr size_t most_devices = 63;

bool is_pattern(std::string_view name) { return name.ends_with('*'); }
std::string_view stem(std::string_view name) { return is_pattern(name) ? name.substr(0, name.size() - 1) : name; }

enum class Overlap { none, part, all };

// How much of what `ours` stands for `theirs` means.
Overlap overlap(std::string_view theirs, std::string_view ours) {
  if (theirs == ours) return Overlap::all;
  if (is_pattern(theirs) && ours.starts_with(stem(theirs))) return Overlap::all;
  if (is_pattern(ours) && theirs.starts_with(stem(ours))) return Overlap::part;
  return Overlap::none;
}

void add(std::vector<std::string>& names, const std::string& name) {
  if (name != "lo" && name != "*" && std::ranges::find(names, name) == names.end()) names.push_back(name);
}

}  // namespace

Result<std::vector<Device>> choose_devices(const std::vector<const Chain*>& chains, const std::vector<std::string>& wanted, std::vector<std::string>& notes) {
  std::vector<std::string> named, denied, names;
  for (const std::string& name : wanted) add(names, name);
  if (names.empty()) {
    for (const Chain* chain : chains)
      for (const Line& line : chain->lines)
        for (const Box& box : line.match)
          for (const DeviceMatch& match : box.devices)
            for (const std::string& name : match.names) add(match.negate ? denied : named, name);
    if (named.empty()) named = denied;
    for (const std::string& name : named)
      if (!is_pattern(name)) names.push_back(name);
    for (const std::string& name : named) {
      if (!is_pattern(name)) continue;
      const auto within = std::ranges::find_if(names, [&](const std::string& other) { return overlap(name, other) != Overlap::none; });
      if (within == names.end())
        names.push_back(name);
      else
        notes.push_back(fmt::format("`{}` is taken for `{}`, which the rules name too; name all devices with --interface", name, *within));
    }
    if (!names.empty())
      notes.push_back(fmt::format("the policies judge what comes in on {}, which the rules name; packets on other devices are not judged: name devices with --interface",
                                  fmt::join(names, ", ")));
  }
  if (names.size() > most_devices) return fail(fmt::format("the rules name {} devices, and at most {} can be imported for", names.size(), most_devices), "name those that matter with --interface");
  std::vector<Device> devices;
  for (const std::string& name : names) {
    std::string base = name_from(name), word = base.empty() ? "device" : base;
    base = word;
    for (unsigned i = 2; std::ranges::find(devices, word, &Device::interface) != devices.end(); ++i) word = fmt::format("{}-{}", base, i);
    devices.push_back({word, scalar(name), name});
  }
  if (devices.empty()) {
    notes.emplace_back("the rules name no device: the policies judge what comes in on en* and eth*; name yours with --interface");
    devices.push_back({"wan", "[\"en*\", \"eth*\"]", ""});
  }
  return devices;
}

std::optional<Ranges> devices_of(const std::vector<DeviceMatch>& matches, const std::vector<Device>& devices) {
  Ranges out(0, devices.size() - 1);
  for (const DeviceMatch& match : matches) {
    std::vector<Range> meant;
    for (size_t i = 0; i < devices.size(); ++i) {
      Overlap most = Overlap::none;
      for (const std::string& theirs : match.names) most = std::max(most, overlap(theirs, devices[i].device));
      if (most == Overlap::part && out.contains(i)) return std::nullopt;
      if (most == Overlap::all) meant.push_back({i, i});
    }
    const Ranges these(std::move(meant));
    out = match.negate ? out.without(these) : out & these;
  }
  return out;
}

}  // namespace penstock::foreign
