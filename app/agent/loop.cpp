#include "app/agent/loop.h"

#include <fmt/format.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace penstock {
namespace {

constexpr uint64_t accuracy_us = 1000;
// What the loop cannot live without; only a lack of memory or descriptors makes it fail.
void need(int result, const char* what) {
  if (result >= 0) return;
  std::fprintf(stderr, "%s", fmt::format("the agent cannot go on: {}: error {}\n", what, -result).c_str());
  std::abort();
}
uint64_t to_us(Moment at) { return static_cast<uint64_t>(std::chrono::ceil<std::chrono::microseconds>(at).count()); }

}  // namespace

struct Source::State {
  std::function<void()> timer;
  std::function<void(uint32_t)> io;
  std::function<void(int)> child;
};

Source::Source() = default;
Source::~Source() { reset(); }
Source::Source(Source&& other) noexcept : source_(std::exchange(other.source_, nullptr)), state_(std::move(other.state_)) {}
Source& Source::operator=(Source&& other) noexcept {
  if (this != &other) {
    reset();
    source_ = std::exchange(other.source_, nullptr);
    state_ = std::move(other.state_);
  }
  return *this;
}
void Source::reset() {
  if (source_) sd_event_source_disable_unref(std::exchange(source_, nullptr));
  state_.reset();
}

void Loop::Unref::operator()(sd_event* event) const { sd_event_unref(event); }

Result<Loop> Loop::make() {
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&blocked, signal);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  signal(SIGPIPE, SIG_IGN);
  sd_event* event = nullptr;
  if (const int error = sd_event_new(&event); error < 0) return fail_errno("cannot make an event loop", -error);
  Loop loop;
  loop.event_.reset(event);
  const auto end = [](sd_event_source* s, const signalfd_siginfo*, void*) { return sd_event_exit(sd_event_source_get_event(s), 0); };
  for (const int signal : {SIGTERM, SIGINT})
    if (const int error = sd_event_add_signal(event, nullptr, signal, end, nullptr); error < 0) return fail_errno("cannot wait for signals", -error);
  if (const int error = sd_event_set_watchdog(event, true); error < 0) return fail_errno("cannot set up the watchdog", -error);
  return loop;
}

Moment Loop::now() const {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + Moment(t.tv_nsec);
}

// The function is moved out for its call: it may replace or destroy the source that it belongs to.
Source Loop::at(Moment at, std::function<void()> call, bool urgent) {
  Source out;
  out.state_ = std::make_unique<Source::State>();
  out.state_->timer = std::move(call);
  const auto handler = [](sd_event_source*, uint64_t, void* state) {
    const std::function<void()> call = static_cast<Source::State*>(state)->timer;
    call();
    return 0;
  };
  need(sd_event_add_time(event_.get(), &out.source_, CLOCK_MONOTONIC, to_us(at), accuracy_us, handler, out.state_.get()), "a timer");
  need(sd_event_source_set_priority(out.source_, SD_EVENT_PRIORITY_NORMAL + !urgent), "a timer");
  return out;
}

void Loop::again(Source& timer, Moment at) {
  need(sd_event_source_set_time(timer.source_, to_us(at)), "a timer");
  need(sd_event_source_set_enabled(timer.source_, SD_EVENT_ONESHOT), "a timer");
}

Source Loop::io(int fd, uint32_t events, std::function<void(uint32_t)> call) {
  Source out;
  out.state_ = std::make_unique<Source::State>();
  out.state_->io = std::move(call);
  const auto handler = [](sd_event_source*, int, uint32_t events, void* state) {
    const std::function<void(uint32_t)> call = static_cast<Source::State*>(state)->io;
    call(events);
    return 0;
  };
  need(sd_event_add_io(event_.get(), &out.source_, fd, events, handler, out.state_.get()), "a descriptor");
  return out;
}

void Loop::change(Source& io, uint32_t events) { need(sd_event_source_set_io_events(io.source_, events), "a descriptor"); }

Source Loop::child(pid_t pid, std::function<void(int)> call) {
  Source out;
  out.state_ = std::make_unique<Source::State>();
  out.state_->child = std::move(call);
  const auto handler = [](sd_event_source* source, const siginfo_t* info, void* state) {
    if (!state) {  // abandoned
      sd_event_source_set_floating(source, false);  // drops the loop's reference, the last one
      return 0;
    }
    const std::function<void(int)> call = static_cast<Source::State*>(state)->child;
    call(info->si_code == CLD_EXITED ? info->si_status : -info->si_status);
    return 0;
  };
  need(sd_event_add_child(event_.get(), &out.source_, pid, WEXITED, handler, out.state_.get()), "a child");
  return out;
}

void Loop::abandon(Source child) {
  if (!child.source_) return;
  sd_event_source_set_userdata(child.source_, nullptr);
  need(sd_event_source_set_floating(child.source_, true), "a child");  // the loop holds it now
  sd_event_source_unref(std::exchange(child.source_, nullptr));
}

Result<> Loop::run() {
  sd_notify(0, "READY=1");
  const int result = sd_event_loop(event_.get());
  sd_notify(0, "STOPPING=1");
  if (result < 0) return fail_errno("the event loop failed", -result);
  return {};
}

void Loop::end() { sd_event_exit(event_.get(), 0); }

void Loop::tell(const std::string& status) const { sd_notify(0, ("STATUS=" + status).c_str()); }

}  // namespace penstock
