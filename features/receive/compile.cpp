#include "features/receive/compile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace penstock {

ps_receive_const compile_receive(const Receive& receive, const std::string& interface, ps_verdict malformed, SetRegistry& sets, SlotTable& slots) {
  ps_receive_const out{};
  if (receive.strips(Decap::ipip)) out.kinds |= PS_RECEIVE_IPIP;
  if (receive.strips(Decap::gue)) out.kinds |= PS_RECEIVE_GUE;
  out.gue_port = receive.gue_port;
  if (!receive.from.any) {
    if (!receive.from.prefixes.empty()) out.set[out.sets++] = sets.nameless(receive.from.prefixes);
    for (const std::string& name : receive.from.sets) out.set[out.sets++] = sets.named(name);
  }
  const auto slot = [&](ps_verdict verdict, ps_reason reason) { return slots.intern({0, interface, {}, {}, verdict, reason, receive.at}); };
  out.slot[PS_RECEIVE_DONE] = slot(PS_PASS, PS_REASON_DECAPSULATED);
  out.slot[PS_RECEIVE_NESTED] = slot(PS_PASS, PS_REASON_DECAP_NESTED);
  out.slot[PS_RECEIVE_FOREIGN] = slot(PS_PASS, PS_REASON_DECAP_FOREIGN);
  out.slot[PS_RECEIVE_FRAGMENT] = slot(PS_PASS, PS_REASON_DECAP_FRAGMENT);
  out.slot[PS_RECEIVE_UNSUPPORTED] = slot(PS_PASS, PS_REASON_DECAP_UNSUPPORTED);
  out.slot[PS_RECEIVE_MALFORMED] = slot(malformed, PS_REASON_DECAP_MALFORMED);
  out.slot[PS_RECEIVE_ECN] = slot(PS_DROP, PS_REASON_DECAP_ECN);
  return out;
}

std::string receive_text(const Receive& receive) {
  std::string out = receive.strips(Decap::ipip) ? "ipip" : "";
  if (receive.strips(Decap::gue)) out += fmt::format("{}gue {}", out.empty() ? "" : ", ", receive.gue_port);
  std::vector<std::string> from = receive.from.sets;
  for (const Prefix& prefix : receive.from.prefixes) from.push_back(prefix.text());
  out += receive.from.any ? " from any" : fmt::format(" from {}", fmt::join(from, ", "));
  if (!receive.on.empty()) out += fmt::format(" on {}", fmt::join(receive.on, ", "));
  return out;
}

}  // namespace penstock
