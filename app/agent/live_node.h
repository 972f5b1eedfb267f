// The node of an instance, as its pins and revisions tell it.
#pragma once
#include <map>
#include <memory>

#include "app/agent/datapath.h"
#include "app/services.h"
#include "core/plan/instance.h"
#include "core/plan/revisions.h"
#include "features/services/config.h"

namespace penstock {

class LiveNode : public Datapath {
 public:
  explicit LiveNode(Instance instance) : instance_(std::move(instance)) {}
  // Revisions, not generations: one that changes nothing but `health` runs the generation before it.
  Result<uint64_t> active() override;
  Result<std::vector<WatchedService>> services(uint64_t revision) override;
  Result<std::vector<StoredState>> states(std::span<const uint32_t> ids) override;
  Result<> update(std::span<const StateChange> changes) override;

 private:
  // What the rings of a generation are made of.
  struct Balanced {
    std::vector<Service> services;
    std::vector<BackendImage> backends;
  };
  Result<const Balanced*> balanced(uint64_t generation);

  Instance instance_;
  uint64_t revision_ = 0;                  // that active() found
  uint64_t generation_ = 0;                // that it runs
  int64_t looked_ = 0, folder_ = 0;        // ms, ns: when, and how the folder of revisions stood
  std::map<uint64_t, Balanced> balanced_;  // by generation, of those that are loaded
};

}  // namespace penstock
