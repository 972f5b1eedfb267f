#include "features/interfaces/compile.h"

namespace penstock {

ps_hook_const compile_interface(const Interface& interface, uint32_t number, SlotTable& slots) {
  const auto slot = [&](ps_verdict verdict, ps_reason reason) {
    Slot s;
    s.interface = interface.name;
    s.verdict = verdict;
    s.reason = reason;
    s.at = interface.at;
    return slots.intern(std::move(s));
  };
  const ps_verdict malformed = interface.malformed == Malformed::drop ? PS_DROP : PS_PASS;
  ps_hook_const out{};
  out.interface = number;
  out.malformed = malformed;
  out.slot_malformed = slot(malformed, PS_REASON_MALFORMED);
  out.slot_not_ip = slot(PS_PASS, PS_REASON_NOT_IP);
  out.slot_no_policy = slot(PS_PASS, PS_REASON_NO_POLICY);
  return out;
}

}  // namespace penstock
