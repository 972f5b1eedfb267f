#include "core/plan/slots.h"

#include <algorithm>
#include <iterator>

namespace penstock {

std::string Slot::key() const {
  std::string out;
  out.reserve(interface.size() + policy.size() + rule.size() + 32);
  for (const std::string_view part : {std::string_view(interface), std::string_view(policy), std::string_view(rule), std::string_view(verdict_name(verdict))}) {
    out += part;
    out += '\n';
  }
  out += reason_name(reason);
  if (!service.empty()) out += '\n' + service + '\n' + backend;
  return out;
}

std::string Slot::owner() const {
  if (!service.empty()) return backend.empty() ? service : service + "/" + backend;
  if (!policy.empty()) return policy + "/" + (rule.empty() ? "(default)" : rule);
  return interface;
}

SlotTable::SlotTable(std::vector<Slot> known) {
  numbers_.reserve(known.size() + known.size() / 4);
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
  if (slot.number >= place_.size()) place_.resize(std::max<size_t>(slot.number + 1, taken_.size()));
  const uint32_t number = slot.number;
  if (place_[number] == 0) {
    used_.push_back(std::move(slot));
    place_[number] = used_.size();
  }
  return number;
}

const Slot* SlotTable::find(uint32_t number) const {
  return number < place_.size() && place_[number] ? &used_[place_[number] - 1] : nullptr;
}

Slot service_slot(std::string service, std::string backend, ps_verdict verdict, ps_reason reason, Location at) {
  return {0, {}, {}, {}, verdict, reason, std::move(at), std::move(service), std::move(backend)};
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
