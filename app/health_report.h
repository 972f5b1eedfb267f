// What the agent found out last, as it writes it for `penstock service` and `penstock explain service`: health.json in the
// instance's run directory, replaced as a whole.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/plan/instance.h"

namespace penstock {

struct BackendReport {
  std::string service, backend;
  uint32_t id = 0;              // of the backend, as the datapath knows it
  std::string state;            // what checks say: "unknown", "up", "down"
  bool kept = false;            // down, but in use: too few others are up
  uint32_t weight = 1000;       // of its configured weight, 1/1000
  int64_t since = 0;            // wall clock, ms; 0: unknown
  uint32_t falls = 0;           // that flap damping remembers
  uint32_t in_a_row = 0, needed = 0;  // results against the state, and how many it takes to change it
  std::string check;            // "tcp", "http GET /ready"
  std::string endpoint;         // "10.0.1.11:443"
  int64_t checked = 0;          // wall clock, ms, of the last result; 0: none yet
  double took_ms = 0;
  std::string error;            // of the last check; empty: it passed
};

struct HealthReport {
  int64_t written = 0;          // wall clock, ms
  int pid = 0;
  uint64_t generation = 0;      // whose services are checked
  std::vector<BackendReport> backends;

  const BackendReport* find(const std::string& service, const std::string& backend) const;
};

constexpr int64_t report_age = 10'000;  // ms: a report that is older was left by an agent that is gone

int64_t wall_ms();              // now
std::string report_path(const Instance& instance);
std::string report_text(const HealthReport& report);
Result<> write_report(const Instance& instance, const HealthReport& report);
// Nothing where no agent ever ran.  A file that is no report is an error.
Result<std::optional<HealthReport>> read_report(const Instance& instance);

}  // namespace penstock
