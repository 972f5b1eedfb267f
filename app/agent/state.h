// What the checks of one backend come to: up or down, when the next check begins, how much of its weight it has.
//
// Pure: time is given in, as ns of one steady clock.  Nothing here waits, reads or writes.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

#include "features/services/health.h"

namespace penstock {

using Moment = std::chrono::nanoseconds;  // of a clock that never goes back

enum class Verdict : uint8_t { unknown, up, down };

class BackendHealth {
 public:
  // What an earlier agent knew.  `falls`: how often it failed without having been up for `damping` in between.
  struct Past {
    Verdict verdict = Verdict::unknown;
    Moment since{0};
    uint32_t falls = 0;
    bool slow = false;   // it was starting slowly
  };

  BackendHealth(const Health& rules, const Past& past) : rules_(rules), verdict_(past.verdict), since_(past.since), falls_(past.falls), slow_(past.slow) {}

  // A check that began at `began` passed or not; `now` is when that was known.  True: the verdict changed.
  bool checked(bool passed, Moment began, Moment now);

  // When the next check begins, after checked().  A good check's successor comes an interval after it.  While a backend
  // that is in use fails, checks come timeout / (fall - 1) sooner, so that the last of `fall` that time out has ended
  // interval * fall after the last good one began.
  Moment next() const { return next_; }

  Verdict verdict() const { return verdict_; }
  Moment since() const { return since_; }
  uint32_t falls() const { return falls_; }
  uint32_t in_a_row() const { return in_a_row_; }   // results that speak against the verdict
  uint32_t needed() const;                          // how many of them it takes

  // Of its weight, in 1/1000: less than all while it starts slowly.
  uint32_t weight(Moment now) const;
  std::optional<Moment> next_weight(Moment now) const;  // when it changes

 private:
  Moment period(bool passed) const;

  Health rules_;
  Verdict verdict_ = Verdict::unknown;
  Moment since_{0}, next_{0};
  uint32_t falls_ = 0, in_a_row_ = 0;
  bool slow_ = false;  // it came back from down
};

}  // namespace penstock
