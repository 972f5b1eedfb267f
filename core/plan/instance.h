// Where an instance keeps what it keeps, and who may change it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace penstock {

struct Instance {
  std::string name = "default";
  std::string bpf;    // pins: what runs now
  std::string run;    // the lock
  std::string state;  // revisions and run-time elements: what outlives a reboot

  // name: [a-z0-9-]{1,32}.
  static Result<Instance> named(const std::string& name);
  std::string pins(const std::string& below) const { return bpf + "/" + below; }
  std::string generation(uint64_t number) const { return bpf + "/gen-" + std::to_string(number); }
};

Result<> make_directories(const std::string& path, unsigned mode = 0700);

// One writer at a time.  Waits up to `patience`, then says who holds it (process id and command).
// `waiting` is called once when it is taken by somebody else.
class Lock {
 public:
  static Result<Lock> take(const Instance& instance, std::chrono::milliseconds patience, const std::function<void(const std::string& holder)>& waiting = {});

 private:
  Fd file_;
};

// Tests name a step of a change here to have the process killed at it: PENSTOCK_KILL_AT=STEP or STEP:N for the Nth time.
// With PENSTOCK_STEPS=FILE every step passed is appended to FILE.
void step(const std::string& name);

}  // namespace penstock
