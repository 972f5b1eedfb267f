// Checks the backends of what runs, and tells the datapath which of them are to be used.
#pragma once
#include <map>
#include <set>

#include "app/agent/check.h"
#include "app/agent/http.h"
#include "app/agent/datapath.h"
#include "app/health_report.h"

namespace penstock {

// Lines for people, one for each change; with the journal's levels where it reads them.
enum class LogLevel { error = 3, warning = 4, notice = 5, info = 6 };
using Log = std::function<void(LogLevel, const std::string&)>;

class Agent {
 public:
  // `past`: the report of an earlier agent, for what the shared state does not hold.
  Agent(Loop& loop, HttpClient& http, Datapath& node, Log log, std::optional<HealthReport> past = {});
  ~Agent();

  // What changed in the node since the last call, what starts slowly; call it every tick.
  void look();
  static constexpr std::chrono::milliseconds tick{200};

  HealthReport report() const;
  // Did anything change that report() tells, other than when checks took place?
  bool take_news() { return std::exchange(news_, false); }
  std::string summary() const;  // "12 of 13 backends up"

 private:
  struct Service;
  struct Monitor;

  void reload(uint64_t generation);
  void begin(Monitor& monitor);
  void result(Monitor& monitor, std::string error);
  void touch(Service& service);  // its backends' use is worked out anew, in this turn of the loop
  void flush();
  Moment since_of(int64_t wall) const;

  Loop& loop_;
  CheckContext context_;
  Datapath& node_;
  Log log_;
  std::map<std::string, uint32_t> falls_;  // of the past, by service/backend
  std::map<std::string, std::unique_ptr<Service>> services_;
  uint64_t generation_ = 0;
  std::set<std::string> touched_;
  Source flush_;
  std::string trouble_;         // what was said last about reading or writing the node's state
  bool news_ = true;
};

}  // namespace penstock
