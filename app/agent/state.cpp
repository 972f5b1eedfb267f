#include "app/agent/state.h"

#include <algorithm>

namespace penstock {
namespace {
constexpr int64_t most_steps = 10;
constexpr uint32_t whole = 1000;
}  // namespace

uint32_t BackendHealth::needed() const {
  if (verdict_ == Verdict::unknown) return rules_.fall;
  if (verdict_ == Verdict::up) return rules_.fall;
  const auto most = std::max<uint64_t>(rules_.rise, static_cast<uint64_t>(rules_.damping / rules_.interval));
  uint64_t needed = rules_.rise;
  for (uint32_t i = 1; i < falls_ && needed < most; ++i) needed *= 2;
  return static_cast<uint32_t>(std::min(needed, most));
}

Moment BackendHealth::period(bool passed) const {
  if (verdict_ == Verdict::down) return rules_.interval;
  if (rules_.fall == 1) return rules_.interval - rules_.timeout;
  return passed ? Moment(rules_.interval) : rules_.interval - Moment(rules_.timeout) / (rules_.fall - 1);
}

bool BackendHealth::checked(bool passed, Moment began, Moment now) {
  const Verdict before = verdict_;
  if (passed == (verdict_ != Verdict::down))
    in_a_row_ = 0;
  else
    ++in_a_row_;
  if (verdict_ == Verdict::unknown && passed) {
    verdict_ = Verdict::up;
    slow_ = false;
  } else if (in_a_row_ >= needed() && in_a_row_ > 0) {
    if (verdict_ == Verdict::down) {
      verdict_ = Verdict::up;
      slow_ = rules_.slow_start.count() > 0;
    } else {
      if (verdict_ == Verdict::up && now - since_ >= rules_.damping) falls_ = 0;
      verdict_ = Verdict::down;
      ++falls_;
    }
  }
  if (verdict_ != before) {
    since_ = now;
    in_a_row_ = 0;
  }
  next_ = std::max(now, began + period(passed));
  return verdict_ != before;
}

uint32_t BackendHealth::weight(Moment now) const {
  const Moment took = now - since_, all = rules_.slow_start;
  if (verdict_ != Verdict::up || !slow_ || took >= all) return whole;
  const int64_t steps = std::clamp<int64_t>(all / std::chrono::seconds(1), 1, most_steps);
  const int64_t step = took.count() < 0 ? 0 : took * steps / all;
  return std::max<uint32_t>(whole / most_steps, static_cast<uint32_t>(whole * step / steps));
}

std::optional<Moment> BackendHealth::next_weight(Moment now) const {
  const Moment all = rules_.slow_start;
  if (weight(now) == whole) return std::nullopt;
  const int64_t steps = std::clamp<int64_t>(all / std::chrono::seconds(1), 1, most_steps);
  for (int64_t step = 1; step < steps; ++step) {
    const Moment at = since_ + (all * step + Moment(steps - 1)) / steps;
    if (at > now && weight(at) != weight(now)) return at;
  }
  return since_ + all;
}

}  // namespace penstock
