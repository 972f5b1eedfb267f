#include "core/plan/settings.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/kernel/device.h"
#include "core/kernel/neighbor.h"
#include "core/kernel/sysctl.h"
#include "core/plan/running.h"

namespace penstock {

using nlohmann::json;

namespace {

constexpr int format_version = 1;

std::string path_of(const Instance& instance) { return instance.state + "/settings.json"; }

std::string this_boot() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

bool same(const Setting& a, const Setting& b) { return a.kind == b.kind && a.ifindex == b.ifindex && a.feature == b.feature; }

constexpr const char* kind_names[] = {"offload", "sysctl", "neighbor"};  // by SettingKind

Result<> put_in_force(const Setting& s) {
  switch (s.kind) {
    case SettingKind::offload: return set_offload({s.ifindex, s.device}, s.feature, !s.original);
    case SettingKind::sysctl: return write_sysctl(s.feature, s.after);
    case SettingKind::neighbor: return manage_neighbor(s.ifindex, Address::parse(s.feature).value_or(Address{}));
  }
  return {};
}

// `device`: its name now.  What was done, in words; empty where somebody else changed it since, whose it stays.
Result<std::string> take_back(const Setting& s, const std::string& device) {
  switch (s.kind) {
    case SettingKind::offload:
      TRY(set_offload({s.ifindex, device}, s.feature, s.original));
      return fmt::format("{}: {} is {} again", device, s.feature, s.original ? "on" : "off");
    case SettingKind::sysctl: {
      TRY_ASSIGN(const std::string now, read_sysctl(s.feature));
      if (now != s.after) return std::string();
      TRY(write_sysctl(s.feature, s.before));
      return fmt::format("{} is {} again", s.feature, s.before);
    }
    case SettingKind::neighbor:
      TRY(release_neighbor(s.ifindex, Address::parse(s.feature).value_or(Address{})));
      return fmt::format("{}: the neighbour {} is not kept resolved any more", device, s.feature);
  }
  return std::string();
}

Result<SettingsMemory> read(const Instance& instance) {
  std::ifstream in(path_of(instance));
  if (!in) return SettingsMemory{};
  const std::string text(std::istreambuf_iterator<char>(in), {});
  auto memory = settings_from_text(text);
  if (!memory) return fail(fmt::format("{}: {}", path_of(instance), memory.error().message()), "it remembers settings of devices to be put back: look into it, then remove it");
  if (memory->boot != this_boot()) return SettingsMemory{};  // a boot puts every device back
  return memory;
}

// On the disk when this returns: what follows may be the last thing that this machine does.
Result<> write(const Instance& instance, const std::vector<Setting>& settings) {
  const std::string path = path_of(instance), aside = path + ".new";
  std::error_code error;
  if (settings.empty()) {
    std::filesystem::remove(path, error);
    return {};
  }
  TRY(make_directories(instance.state));
  const std::string text = settings_text({this_boot(), own_network(), settings});
  const Fd file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(file.get()) < 0 || ::rename(aside.c_str(), path.c_str()) < 0)
    return fail_errno(fmt::format("cannot write {}", path), errno, "no setting of a device is changed before its original is on disk");
  const Fd directory(::open(instance.state.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) ::fsync(directory.get());
  return {};
}

}  // namespace

std::string Setting::key() const {
  const std::string name = fmt::format("{} {}", kind_names[static_cast<size_t>(kind)], feature);
  return ifindex ? fmt::format("{} {}", name, ifindex) : name;
}

std::string settings_text(const SettingsMemory& memory) {
  json list = json::array();
  for (const Setting& s : memory.settings)
    list.push_back({{"ifindex", s.ifindex}, {"device", s.device}, {"feature", s.feature}, {"original", s.original}, {"since", s.since}, {"kind", kind_names[static_cast<size_t>(s.kind)]}, {"before", s.before}, {"after", s.after}});
  return json{{"format", format_version}, {"boot", memory.boot}, {"network", memory.network}, {"settings", list}}.dump(1) + "\n";
}

Result<SettingsMemory> settings_from_text(const std::string& text) {
  const json j = json::parse(text, nullptr, false);
  if (!j.is_object() || j.value("format", json(0)) != format_version) return fail("damaged or of another version");
  try {
    SettingsMemory memory{j.at("boot"), j.at("network"), {}};
    for (const json& s : j.at("settings")) {
      const auto kind = std::ranges::find(kind_names, s.value("kind", kind_names[0]), [](const char* name) { return std::string(name); });
      if (kind == std::end(kind_names)) return fail("damaged or of another version");
      memory.settings.push_back({s.at("ifindex"), s.at("device"), s.at("feature"), s.at("original"), s.at("since"), static_cast<SettingKind>(kind - kind_names), s.value("before", ""), s.value("after", "")});
    }
    return memory;
  } catch (const json::exception& e) {
    return fail(fmt::format("damaged: {}", e.what()));
  }
}

void merge_settings(std::vector<Setting>& remembered, const std::vector<Setting>& more) {
  for (const Setting& s : more) {
    const auto known = std::find_if(remembered.begin(), remembered.end(), [&](const Setting& r) { return same(r, s); });
    if (known == remembered.end()) remembered.push_back(s);
    else known->since = s.since;
  }
}

Result<std::vector<Setting>> remembered_settings(const Instance& instance) {
  TRY_ASSIGN(SettingsMemory memory, read(instance));
  if (memory.network != own_network()) return std::vector<Setting>{};
  return std::move(memory.settings);
}

Result<> change_settings(const Instance& instance, const std::vector<Setting>& settings) {
  if (settings.empty()) return {};
  TRY_ASSIGN(std::vector<Setting> all, remembered_settings(instance));
  merge_settings(all, settings);
  TRY(write(instance, all));
  step("settings-remembered");
  for (const Setting& s : settings) {
    TRY(put_in_force(s));
    step("setting-changed");
  }
  return {};
}

Restored restore_settings(const Instance& instance, const std::function<bool(const Setting&)>& keep) {
  Restored out;
  auto memory = read(instance);
  if (!memory) {
    out.failed = std::move(memory).error().diagnostics;
    return out;
  }
  if (memory->settings.empty()) return out;
  if (memory->network != own_network()) {
    for (const Setting& s : memory->settings)
      if (!keep(s)) out.failed.push_back({.message = fmt::format("{} of {} stays {}: the device is in another network namespace", s.feature, s.device, s.original ? "off" : "on"), .hint = "say `penstock off` there"});
    return out;
  }
  std::vector<Setting> left;
  for (const Setting& s : memory->settings) {
    if (keep(s)) {
      left.push_back(s);
      continue;
    }
    const std::string name = s.ifindex ? device_name(s.ifindex) : std::string();
    if (s.ifindex && name.empty()) continue;
    auto done = take_back(s, name);
    if (!done) {
      out.failed.push_back(std::move(done).error().diagnostics.front());
      left.push_back(s);
      continue;
    }
    step("setting-restored");
    if (!done->empty()) out.done.push_back(std::move(*done));
  }
  if (left.size() == memory->settings.size()) return out;
  if (auto done = write(instance, left); !done) out.failed.push_back(std::move(done).error().diagnostics.front());
  return out;
}

void forget_settings(const Instance& instance) {
  std::error_code error;
  std::filesystem::remove(path_of(instance), error);
}

}  // namespace penstock
