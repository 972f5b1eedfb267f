#include "app/agent/agent.h"

#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>

#include "core/config/duration.h"

namespace penstock {

using std::chrono::milliseconds;

struct Agent::Monitor {
  Service* service;
  WatchedBackend backend;
  BackendHealth health;
  StoredState stored;           // as the node has it
  bool kept = false;
  int64_t since = 0;            // wall clock, ms, of the checks' verdict; 0: unknown
  Moment began{0}, due{0};      // of the check under way
  bool excused = false;         // it was given more time
  int64_t checked = 0;          // wall clock, ms
  Moment took{0};
  std::string error{};
  std::unique_ptr<Check> check{};
  Source timer{};
};

struct Agent::Service {
  WatchedService config;
  std::vector<std::unique_ptr<Monitor>> monitors;
};

namespace {

constexpr milliseconds longest_first_wait{1000};  // for the first check of a backend that nothing is known of
constexpr milliseconds try_again{100};            // to write what could not be written
constexpr milliseconds most_lag{20};              // of a timer, on a machine that is not starved

const char* verdict_word(Verdict verdict) { return verdict == Verdict::up ? "up" : verdict == Verdict::down ? "down" : "unknown"; }
std::string full_name(const std::string& service, const std::string& backend) { return service + "/" + backend; }
std::string plural_text(uint32_t number, const char* noun) { return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s"); }
std::string for_people(Moment time) {
  const auto ms = std::chrono::duration_cast<milliseconds>(time);
  return duration_text(ms < std::chrono::seconds(10) ? ms : std::chrono::duration_cast<std::chrono::seconds>(ms));
}

}  // namespace

Agent::Agent(Loop& loop, HttpClient& http, Datapath& node, Log log, std::optional<HealthReport> past) : loop_(loop), context_{loop, http}, node_(node), log_(std::move(log)) {
  if (past)
    for (const BackendReport& b : past->backends) falls_[full_name(b.service, b.backend)] = b.falls;
}
Agent::~Agent() = default;

// The past on the loop's clock.
Moment Agent::since_of(int64_t wall) const { return loop_.now() - milliseconds(std::max<int64_t>(wall_ms() - wall, 0)); }

void Agent::look() {
  const auto complain = [&](const Error& error) {
    if (error.message() != trouble_) log_(LogLevel::warning, error.message());
    trouble_ = error.message();
  };
  const auto active = node_.active();
  if (!active) return complain(active.error());
  if (*active != generation_) reload(*active);

  std::vector<uint32_t> ids;
  std::vector<Monitor*> monitors;
  for (auto& [name, service] : services_)
    for (auto& m : service->monitors) {
      ids.push_back(m->backend.id);
      monitors.push_back(m.get());
    }
  if (ids.empty()) return;
  const auto states = node_.states(ids);
  if (!states) return complain(states.error());
  const Moment now = loop_.now();
  for (size_t i = 0; i < monitors.size(); ++i) {
    Monitor& m = *monitors[i];
    const bool ordered = m.stored.enabled != (*states)[i].enabled;
    m.stored.enabled = (*states)[i].enabled;
    if (ordered || m.health.weight(now) != m.stored.weight) touch(*m.service);
  }
}

void Agent::reload(uint64_t generation) {
  auto read = node_.services(generation);
  if (!read) {
    if (read.error().message() != trouble_) log_(LogLevel::error, fmt::format("generation {} cannot be read, what ran before is checked on: {}", generation, read.error().message()));
    trouble_ = read.error().message();
    return;
  }
  generation_ = generation;
  trouble_.clear();
  news_ = true;
  std::map<std::string, std::unique_ptr<Service>> before = std::exchange(services_, {});
  touched_.clear();
  size_t backends = 0;
  for (WatchedService& config : *read) {
    auto service = std::make_unique<Service>();
    service->config = std::move(config);
    std::vector<std::unique_ptr<Monitor>> old;
    bool same = false;
    if (const auto found = before.find(service->config.name); found != before.end()) {
      same = found->second->config.health == service->config.health;
      old = std::move(found->second->monitors);
    }
    std::vector<uint32_t> ids;
    for (const WatchedBackend& b : service->config.backends) ids.push_back(b.id);
    const auto states = node_.states(ids);
    if (!states) log_(LogLevel::warning, states.error().message());
    for (size_t i = 0; i < ids.size(); ++i) {
      const WatchedBackend& backend = service->config.backends[i];
      const auto match = std::ranges::find_if(old, [&](const auto& m) { return m && m->backend.id == backend.id; });
      const bool moves = match != old.end() && same && (*match)->backend.address == backend.address && (*match)->backend.port == backend.port && (*match)->backend.name == backend.name;
      if (moves) {
        (*match)->service = service.get();
        (*match)->backend = backend;
        service->monitors.push_back(std::move(*match));
        continue;
      }
      const StoredState stored = states ? (*states)[i] : StoredState{};
      const Verdict verdict = stored.failed ? Verdict::down : stored.verdict;
      const auto falls = match != old.end() ? (*match)->health.falls() : falls_.contains(full_name(service->config.name, backend.name)) ? falls_[full_name(service->config.name, backend.name)] : 0;
      const BackendHealth::Past past{verdict, since_of(stored.since), falls, verdict == Verdict::up && stored.weight < 1000};
      auto monitor = std::make_unique<Monitor>(Monitor{.service = service.get(), .backend = backend, .health = BackendHealth(service->config.health, past), .stored = stored, .kept = stored.failed && stored.verdict != Verdict::down,
                                                       .since = verdict == Verdict::unknown ? 0 : stored.since});
      // Checks are spread over the interval, each at its own place in it whoever is beside it.
      const std::string name = full_name(service->config.name, backend.name);
      const milliseconds wait = verdict == Verdict::unknown ? std::min(service->config.health.interval, longest_first_wait) : service->config.health.interval;
      const Moment first = loop_.now() + Moment(wait) / 1000 * static_cast<int64_t>(XXH3_64bits(name.data(), name.size()) % 1000);
      monitor->timer = loop_.at(first, [this, m = monitor.get()] { begin(*m); });
      service->monitors.push_back(std::move(monitor));
    }
    backends += service->monitors.size();
    Service& added = *service;
    services_[added.config.name] = std::move(service);
    touch(added);
  }
  log_(LogLevel::info, generation == 0 ? "nothing runs in this instance"
                       : services_.empty() ? fmt::format("generation {} runs: no service asks for checks", generation)
                                           : fmt::format("generation {} runs: {} of {} checked", generation, plural_text(static_cast<uint32_t>(backends), "backend"), plural_text(static_cast<uint32_t>(services_.size()), "service")));
}

// The timer's two occasions: a check is due, or the one under way has taken too long.
void Agent::begin(Monitor& m) {
  const Moment now = loop_.now();
  if (m.check) {
    // An agent that got no CPU for a while blames nobody for it: the time is given back, once.
    if (const Moment lost = now - m.due; lost > most_lag && !m.excused) {
      m.excused = true;
      return loop_.again(m.timer, now + std::min<Moment>(lost, m.service->config.health.timeout));
    }
    return result(m, m.check->late());
  }
  m.began = now;
  m.due = now + m.service->config.health.timeout;
  m.excused = false;
  loop_.again(m.timer, m.due);
  const Target target{.service = m.service->config.name, .backend = m.backend.name, .address = m.backend.address, .port = m.backend.port};
  m.check = start_check(context_, m.service->config.health, target, [this, &m](std::string error) { result(m, std::move(error)); });
}

void Agent::result(Monitor& m, std::string error) {
  const Moment now = loop_.now(), before = m.health.since();
  const Verdict was = m.health.verdict();
  const bool passed = error.empty();
  m.check.reset();
  m.checked = wall_ms();
  m.took = now - m.began;
  news_ |= m.error != error;
  m.error = std::move(error);
  if (m.health.checked(passed, m.began, now)) {
    m.since = m.checked;
    news_ = true;
    const std::string name = full_name(m.service->config.name, m.backend.name);
    const Health& rules = m.service->config.health;
    if (m.health.verdict() == Verdict::down)
      log_(LogLevel::warning, fmt::format("{} is down: {} failed, the last: {}", name, rules.fall == 1 ? "a check" : fmt::format("{} checks in a row", rules.fall), m.error));
    else if (was == Verdict::unknown)
      log_(LogLevel::info, fmt::format("{} is up: its first check passed", name));
    else
      log_(LogLevel::notice, fmt::format("{} is up again after {}{}", name, for_people(now - before), rules.slow_start.count() ? fmt::format(", all of its weight in {}", duration_text(rules.slow_start)) : ""));
    if (m.health.verdict() == Verdict::down && m.health.needed() > rules.rise)
      log_(LogLevel::notice, fmt::format("{} failed {} times lately: {} good checks in a row will bring it back", name, m.health.falls(), m.health.needed()));
    touch(*m.service);
  }
  loop_.again(m.timer, m.health.next());
}

void Agent::touch(Service& service) {
  touched_.insert(service.config.name);
  // Behind all results that are at hand, so that a rack that falls silent is one change.
  if (!flush_)
    flush_ = loop_.at(loop_.now(), [this] { flush(); });
  else
    loop_.again(flush_, loop_.now());
}

void Agent::flush() {
  const Moment now = loop_.now();
  std::vector<StateChange> changes;
  std::vector<Monitor*> changed;
  for (const std::string& name : touched_) {
    const auto found = services_.find(name);
    if (found == services_.end()) continue;
    Service& service = *found->second;
    std::vector<Standing> standings;
    for (const auto& m : service.monitors) standings.push_back({m->backend.enabled && m->stored.enabled, m->health.verdict() == Verdict::down, m->since});
    const std::vector<bool> kept = kept_in_use(standings, service.config.min_backends);
    for (size_t i = 0; i < kept.size(); ++i) {
      Monitor& m = *service.monitors[i];
      if (m.health.verdict() == Verdict::unknown) continue;
      if (m.kept != kept[i]) {
        news_ = true;
        const std::string both = full_name(name, m.backend.name);
        if (kept[i])
          log_(LogLevel::warning, fmt::format("{} stays in use though it failed: otherwise fewer than {} would be left (min-backends)", both, plural_text(service.config.min_backends, "backend")));
        else if (m.health.verdict() == Verdict::down)
          log_(LogLevel::notice, fmt::format("{} is no longer in use: enough others are up", both));
        m.kept = kept[i];
      }
      const bool failed = m.health.verdict() == Verdict::down;
      const StoredState next{failed && !m.kept ? Verdict::down : Verdict::up, failed, m.health.weight(now), m.since, m.stored.enabled};
      const StoredState& old = m.stored;
      if (next.verdict == old.verdict && next.failed == old.failed && next.weight == old.weight && next.since == old.since) continue;
      changes.push_back({m.backend.id, next});
      changed.push_back(&m);
    }
  }
  if (!changes.empty()) {
    if (const auto done = node_.update(changes); !done) {
      if (done.error().message() != trouble_) log_(LogLevel::error, fmt::format("the datapath was not told: {}", done.error().message()));
      trouble_ = done.error().message();
      loop_.again(flush_, loop_.now() + try_again);
      return;
    }
    trouble_.clear();
    news_ = true;
    for (size_t i = 0; i < changes.size(); ++i) changed[i]->stored = changes[i].state;
  }
  touched_.clear();
}

HealthReport Agent::report() const {
  HealthReport out{.written = wall_ms(), .pid = getpid(), .generation = generation_, .backends = {}};
  for (const auto& [name, service] : services_)
    for (const auto& m : service->monitors) {
      const Target target{.service = name, .backend = m->backend.name, .address = m->backend.address, .port = m->backend.port};
      out.backends.push_back({.service = name, .backend = m->backend.name, .id = m->backend.id, .state = verdict_word(m->health.verdict()), .kept = m->kept, .weight = m->stored.weight, .since = m->since,
                              .falls = m->health.falls(), .in_a_row = m->health.in_a_row(), .needed = m->health.needed(), .check = check_text(service->config.health), .endpoint = endpoint_text(target),
                              .checked = m->checked, .took_ms = std::chrono::duration<double, std::milli>(m->took).count(), .error = m->error});
    }
  return out;
}

std::string Agent::summary() const {
  size_t up = 0, all = 0;
  for (const auto& [name, service] : services_)
    for (const auto& m : service->monitors) {
      ++all;
      up += m->health.verdict() == Verdict::up;
    }
  return all ? fmt::format("{} of {} backends up", up, all) : "nothing to check";
}

}  // namespace penstock
