// Which counter slot means what.  A slot belongs to an identity and is not given to another while a kept revision
// names it: what two generations count is never mixed up.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "bpf/types.h"
#include "core/base/result.h"

namespace penstock {

struct Slot {
  uint32_t number = 0;
  std::string interface;  // for exits that belong to an interface: malformed, not-ip, no-policy
  std::string policy;     // for exits that belong to a policy
  std::string rule;       // empty: the policy's default
  ps_verdict verdict = PS_PASS;
  ps_reason reason = PS_REASON_NONE;
  Location at;            // the rule, the default, the interface, the service or its backend in the file
  std::string service{};  // for exits that belong to a service
  std::string backend{};  // of it, where one was chosen
  std::string key() const;  // the identity: everything but number and at
  std::string owner() const;  // for people: "edge/bad", "edge/(default)", "web/b1", "wan"; empty: nobody
};

class SlotTable {
 public:
  // `known`: the slots that kept revisions name.
  explicit SlotTable(std::vector<Slot> known = {});
  // The number for this identity: the known one, else the lowest that nobody holds.  Marks it as used by this image.
  uint32_t intern(Slot slot);
  const std::vector<Slot>& used() const { return used_; }   // in the order of intern()
  const Slot* find(uint32_t number) const;
  uint32_t end() const;                                     // one past the highest number known or used

 private:
  std::unordered_map<std::string, uint32_t> numbers_;
  std::vector<bool> taken_;            // by number
  uint32_t free_ = 0;                  // none below is free
  std::vector<size_t> place_;          // in used_, by number, counted from 1; 0: not used
  std::vector<Slot> used_;
};

// An exit of a service, or of one of its backends.
Slot service_slot(std::string service, std::string backend, ps_verdict verdict, ps_reason reason, Location at);

std::vector<bool> slot_numbers(const std::vector<Slot>& slots);  // true at each number

const char* reason_name(unsigned reason);    // "kept-nd"; "unknown" where there is none
const char* reason_text(unsigned reason);
const char* verdict_name(unsigned verdict);  // "drop"

}  // namespace penstock
