#include "core/plan/slots.h"

#include <algorithm>
#include <iterator>

namespace penstock {

std::string Slot::key() const {
  return interface + '\n' + policy + '\n' + rule + '\n' + verdict_name(verdict) + '\n' + reason_name(reason);
}

SlotTable::SlotTable(std::vector<Slot> known) {
  for (const Slot& slot : known) {
    numbers_.emplace(slot.key(), slot.number);
    if (slot.number >= taken_.size()) taken_.resize(slot.number + 1);
    taken_[slot.number] = true;
  }
}

uint32_t SlotTable::intern(Slot slot) {
  const auto [entry, added] = numbers_.try_emplace(slot.key(), 0);
  if (added) {
    while (free_ < taken_.size() && taken_[free_]) ++free_;
    if (free_ == taken_.size()) taken_.push_back(false);
    taken_[free_] = true;
    entry->second = free_;
  }
  slot.number = entry->second;
  if (place_.try_emplace(slot.number, used_.size()).second) used_.push_back(slot);
  return slot.number;
}

const Slot* SlotTable::find(uint32_t number) const {
  const auto found = place_.find(number);
  return found == place_.end() ? nullptr : &used_[found->second];
}

std::vector<bool> slot_numbers(const std::vector<Slot>& slots) {
  std::vector<bool> out;
  for (const Slot& slot : slots) {
    if (slot.number >= out.size()) out.resize(slot.number + 1);
    out[slot.number] = true;
  }
  return out;
}

uint32_t SlotTable::end() const { return static_cast<uint32_t>(taken_.size()); }

namespace {
struct ReasonName {
  unsigned number;
  const char* name;
  const char* text;
};
constexpr ReasonName reasons[] = {
#define REASON(number, symbol, name, text) {number, name, text},
#include "bpf/reasons.def"
#undef REASON
};
const ReasonName* find_reason(unsigned reason) {
  const auto found = std::find_if(std::begin(reasons), std::end(reasons), [&](auto& r) { return r.number == reason; });
  return found == std::end(reasons) ? nullptr : found;
}
}  // namespace

const char* reason_name(unsigned reason) {
  const auto* found = find_reason(reason);
  return found ? found->name : "unknown";
}

const char* reason_text(unsigned reason) {
  const auto* found = find_reason(reason);
  return found ? found->text : "unknown";
}

const char* verdict_name(unsigned verdict) {
  static constexpr const char* names[] = {"aborted", "drop", "pass", "tx", "redirect", "audit", "continue"};
  return verdict < std::size(names) ? names[verdict] : "unknown";
}

}  // namespace penstock
