// One thread that waits for everything: sd-event with owned sources, one call a source.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "app/agent/state.h"
#include "core/base/result.h"

struct sd_event;
struct sd_event_source;

namespace penstock {

class Loop;

// A source of the loop: gone with its owner, also from within its own call.
class Source {
 public:
  Source();
  ~Source();
  Source(Source&& other) noexcept;
  Source& operator=(Source&& other) noexcept;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  explicit operator bool() const { return source_ != nullptr; }
  void reset();

 private:
  friend class Loop;
  struct State;
  sd_event_source* source_ = nullptr;
  std::unique_ptr<State> state_;
};

class Loop {
 public:
  static Result<Loop> make();

  Moment now() const;                                    // CLOCK_MONOTONIC, of this turn of the loop
  // Calls once at `at`; unless it is `urgent` after whatever else is ready then: an answer that has come is no timeout.  An
  // error in any of these means no memory, so the process ends.
  Source at(Moment at, std::function<void()> call, bool urgent = false);
  void again(Source& timer, Moment at);                  // a timer that has run out, or not: runs out at `at`
  // As long as the source lives: `events` and what is handed over are of epoll(7).
  Source io(int fd, uint32_t events, std::function<void(uint32_t)> call);
  void change(Source& io, uint32_t events);
  // Once, when the child ends: as waitid(2) says, the code of an exit or -signal.  SIGCHLD is blocked by make().
  Source child(pid_t pid, std::function<void(int)> call);
  void abandon(Source child);                            // nobody asks any more: only collected when it ends

  // Runs until SIGTERM or SIGINT, or end().  Tells the service manager that it runs, that it ends, and that it lives.
  Result<> run();
  void end();
  void tell(const std::string& status) const;            // sd_notify STATUS=

 private:
  struct Unref {
    void operator()(sd_event* event) const;
  };
  std::unique_ptr<sd_event, Unref> event_;
};

}  // namespace penstock
