#include "features/policy/rule_text.h"

#include <fmt/format.h>

namespace penstock {
namespace {

std::string text_of(const AddressMatch& m) {
  if (m.any) return "any";
  std::string text = m.negate ? "!" : "";
  for (const std::string& set : m.sets) text += set + ",";
  for (const Prefix& p : m.prefixes) text += p.text() + ",";
  return text;
}

std::string text_of(const NumberMatch& m) {
  std::string text = m.negate ? "!" : "";
  for (const NumberRange& r : m.ranges) text += fmt::format("{}-{},", r.first, r.last);
  return text;
}

std::string text_of(const IcmpMatch& m) {
  std::string text;
  for (const IcmpKind& k : m.kinds) text += fmt::format("{}:{}/{},", k.v6 ? 6 : 4, k.type, k.code ? *k.code : -1);
  return text;
}

std::string text_of(const MacMatch& m) {
  std::string text = m.negate ? "!" : "";
  for (const Mac& mac : m.addresses) text += mac.text() + ",";
  return text;
}

std::string text_of(const InterfaceMatch& m) {
  std::string text = m.negate ? "!" : "";
  for (const std::string& name : m.names) text += name + ",";
  return text;
}

}  // namespace

const char* action_text(Action action) {
  switch (action) {
    case Action::accept: return "accept";
    case Action::drop: return "drop";
    case Action::reject: return "reject";
    case Action::continue_: return "continue";
  }
  return "drop";
}

std::string rule_text(const Rule& r) {
  return fmt::format("{};{};{};{};{};{};{}/{}/{};{};{};{};{};{};{};{};{};{};{};{};{}", text_of(r.from), text_of(r.to), r.proto ? *r.proto : -1,
                     text_of(r.from_port), text_of(r.to_port), r.socket, r.flags.set, r.flags.clear, r.flags.one_of, text_of(r.icmp),
                     text_of(r.vlan), text_of(r.dscp), text_of(r.ttl), text_of(r.length), static_cast<int>(r.fragment),
                     static_cast<int>(r.options), text_of(r.mac), text_of(r.interface), r.audit, static_cast<int>(r.count), action_text(r.action));
}

}  // namespace penstock
