// Settings outside of programs and tables that a generation needs, and how they are put back: offloads that would hide from XDP
// what arrives, sysctls, neighbours.  The gate cannot undo them, so the original is on disk before anything is changed and
// stays there until it is in force again.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/plan/instance.h"

namespace penstock {

enum class SettingKind {
  offload,    // every generation on the device needs it
  sysctl,     // as the next: who needs it says so (Revision::needs)
  neighbor,   // kept resolved by the kernel
};

struct Setting {
  uint32_t ifindex = 0;     // 0: of no device
  std::string device;       // its name when it was changed
  std::string feature;      // of Offload::name; "net/ipv4/conf/lo/forwarding"; an address
  bool original = true;     // of an offload: changed to the opposite
  uint64_t since = 0;       // the generation that needed it
  SettingKind kind = SettingKind::offload;
  std::string before{}, after{};  // of a sysctl
  bool operator==(const Setting&) const = default;
  std::string key() const;  // tells apart what is set: "sysctl net/ipv4/conf/lo/forwarding"
};

// Those of this boot and network namespace; of another one they mean nothing here.
Result<std::vector<Setting>> remembered_settings(const Instance& instance);

// Remembers all (see merge_settings), then changes one after the other.
Result<> change_settings(const Instance& instance, const std::vector<Setting>& settings);

struct Restored {
  std::vector<std::string> done;      // "eth0: rx-vlan-offload is on again"
  std::vector<Diagnostic> failed;     // still remembered, tried again by the next changing command
};
// Puts back and forgets those that `keep` does not hold.  A device that is gone took its setting along.
Restored restore_settings(const Instance& instance, const std::function<bool(const Setting&)>& keep);

// The namespace whose devices they were is gone.
void forget_settings(const Instance& instance);

// Text form of the memory, JSON.  An error where it is damaged.
struct SettingsMemory {
  std::string boot;         // of /proc/sys/kernel/random/boot_id
  uint64_t network = 0;     // inode of the network namespace
  std::vector<Setting> settings;
};
std::string settings_text(const SettingsMemory& memory);
Result<SettingsMemory> settings_from_text(const std::string& text);

// Adds what is not remembered yet.  What is, and was switched on by somebody since, keeps its original: it is undone with
// the change that switches it off again.
void merge_settings(std::vector<Setting>& remembered, const std::vector<Setting>& more);

}  // namespace penstock
