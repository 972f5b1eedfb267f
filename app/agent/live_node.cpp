#include "app/agent/live_node.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "app/health.h"
#include "app/health_report.h"
#include "core/kernel/bpf.h"
#include "core/plan/running.h"
#include "features/services/decode.h"
#include "features/services/state.h"

namespace penstock {
namespace {

constexpr int64_t look_again = 2000;  // ms, though the folder of revisions stands as it stood
constexpr uint32_t whole = 1000;

int64_t time_of(const std::string& folder) {
  struct stat there {};
  return stat(folder.c_str(), &there) == 0 ? there.st_mtim.tv_sec * 1'000'000'000 + there.st_mtim.tv_nsec : 0;
}

}  // namespace

Result<uint64_t> LiveNode::active() {
  TRY_ASSIGN(const Running running, observe(instance_));
  const uint64_t generation = running.active(coarse_now());
  const Revisions revisions(instance_);
  const int64_t folder = time_of(instance_.state + "/revisions"), now = wall_ms();
  if (generation == generation_ && folder == folder_ && now - looked_ < look_again && now >= looked_) return revision_;
  std::erase_if(balanced_, [&](const auto& b) { return std::ranges::find(running.generations, b.first) == running.generations.end(); });
  uint64_t revision = 0;
  if (generation)
    for (const Revision& r : revisions.heads())
      if (r.generation == generation && r.status != RevisionStatus::reverted) revision = std::max(revision, r.number);
  if (generation && !revision) return fail(fmt::format("generation {} runs, but its revision is missing from {}", generation, instance_.state));
  generation_ = generation;
  revision_ = revision;
  folder_ = folder;
  looked_ = now;
  return revision;
}

Result<std::vector<WatchedService>> LiveNode::services(uint64_t revision) {
  std::vector<WatchedService> out;
  if (revision == 0) return out;
  const Revisions revisions(instance_);
  TRY_ASSIGN(const Revision head, revisions.head(revision));
  TRY_ASSIGN(const std::vector<Service> services, services_in(revisions.file(revision)));
  std::map<std::pair<std::string, std::string>, uint32_t> ids;
  for (const BackendImage& b : head.backends) ids[{b.service, b.backend}] = b.id;
  for (const Service& service : services) {
    const Health* health = health_of(service);
    if (!health) continue;
    WatchedService watched{.name = service.name, .health = *health, .min_backends = min_backends_of(service), .backends = {}};
    const std::optional<uint16_t> port = checked_port(service, *health);
    for (const Backend& b : service.backends) {
      const auto id = ids.find({service.name, b.name});
      if (b.state == BackendState::maintenance || id == ids.end()) continue;
      // One on this node answers at the frontend's address.
      watched.backends.push_back({.id = id->second, .name = b.name, .address = b.address.value_or(service.frontends.front().address), .port = port.value_or(0), .enabled = b.state == BackendState::up});
    }
    out.push_back(std::move(watched));
  }
  return out;
}

Result<std::vector<StoredState>> LiveNode::states(std::span<const uint32_t> ids) {
  TRY_ASSIGN(const std::vector<ps_service_state> found, states_of(instance_, generation_, ids));
  std::vector<StoredState> out;
  for (const ps_service_state& s : found) {
    const Verdict verdict = s.since == 0 ? Verdict::unknown : s.health == PS_BACKEND_DOWN ? Verdict::down : Verdict::up;
    out.push_back({.verdict = verdict, .failed = s.failed != 0, .weight = s.weight ? s.weight : whole, .since = static_cast<int64_t>(s.since), .enabled = s.admin == PS_BACKEND_UP});
  }
  return out;
}

Result<const LiveNode::Balanced*> LiveNode::balanced(uint64_t generation) {
  if (const auto found = balanced_.find(generation); found != balanced_.end()) return &found->second;
  const Revisions revisions(instance_);
  TRY_ASSIGN(const Revision head, revisions.head(generation));  // the one that made it bears its number
  Balanced made;
  TRY_ASSIGN(made.services, services_in(revisions.file(generation)));
  made.backends = head.backends;
  return &(balanced_[generation] = std::move(made));
}

Result<> LiveNode::update(std::span<const StateChange> changes) {
  TRY_ASSIGN(const Running running, observe(instance_));
  TRY_ASSIGN(const Fd lock, lock_states(instance_));
  std::vector<uint32_t> ids;
  for (const StateChange& c : changes) ids.push_back(c.id);
  for (const uint64_t generation : running.generations) {
    const auto of = balanced(generation);
    if (!of) {
      if (generation == generation_) return Failure(of.error());
      continue;  // no revision tells of it any more: it cannot come back
    }
    TRY_ASSIGN(const std::vector<ps_service_state> now, states_of(instance_, generation, ids));
    std::map<uint32_t, ps_service_state> changed;
    for (size_t i = 0; i < changes.size(); ++i) {
      const StoredState& to = changes[i].state;
      ps_service_state next = now[i];
      next.health = to.verdict == Verdict::down ? PS_BACKEND_DOWN : PS_BACKEND_UP;
      next.failed = to.failed;
      next.weight = static_cast<__u16>(to.weight == whole ? 0 : to.weight);
      next.since = static_cast<__u64>(to.since);
      changed[changes[i].id] = next;
    }
    TRY(write_states(instance_, generation, (*of)->services, (*of)->backends, changed));
  }
  return {};
}

}  // namespace penstock
