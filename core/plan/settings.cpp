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

bool same(const Setting& a, const Setting& b) { return a.ifindex == b.ifindex && a.feature == b.feature; }

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

std::string settings_text(const SettingsMemory& memory) {
  json list = json::array();
  for (const Setting& s : memory.settings)
    list.push_back({{"ifindex", s.ifindex}, {"device", s.device}, {"feature", s.feature}, {"original", s.original}, {"since", s.since}});
  return json{{"format", format_version}, {"boot", memory.boot}, {"network", memory.network}, {"settings", list}}.dump(1) + "\n";
}

Result<SettingsMemory> settings_from_text(const std::string& text) {
  const json j = json::parse(text, nullptr, false);
  if (!j.is_object() || j.value("format", json(0)) != format_version) return fail("damaged or of another version");
  try {
    SettingsMemory memory{j.at("boot"), j.at("network"), {}};
    for (const json& s : j.at("settings")) memory.settings.push_back({s.at("ifindex"), s.at("device"), s.at("feature"), s.at("original"), s.at("since")});
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
    TRY(set_offload({s.ifindex, s.device}, s.feature, !s.original));
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
    const std::string name = device_name(s.ifindex);
    if (name.empty()) continue;
    if (auto done = set_offload({s.ifindex, name}, s.feature, s.original); !done) {
      out.failed.push_back(std::move(done).error().diagnostics.front());
      left.push_back(s);
      continue;
    }
    step("setting-restored");
    out.done.push_back(fmt::format("{}: {} is {} again", name, s.feature, s.original ? "on" : "off"));
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
