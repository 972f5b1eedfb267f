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

namespace {
// Nearly every rule: nothing need be written to know it.
bool asks_nothing_rare(const Rule& r) {
  static const Rule plain;
  return r.socket == plain.socket && r.flags == plain.flags && r.icmp.kinds.empty() && r.vlan == plain.vlan && r.dscp == plain.dscp && r.ttl == plain.ttl &&
         r.length == plain.length && r.fragment == plain.fragment && r.options == plain.options && r.mac == plain.mac && r.interface == plain.interface;
}
}  // namespace

std::string rare_text(const Rule& r) {
  if (asks_nothing_rare(r)) return {};
  static const Rule plain;
  const auto text = [](const Rule& rule) {
    return fmt::format("{};{}/{}/{};{};{};{};{};{};{};{};{};{}", rule.socket, rule.flags.set, rule.flags.clear, rule.flags.one_of, text_of(rule.icmp),
                       text_of(rule.vlan), text_of(rule.dscp), text_of(rule.ttl), text_of(rule.length), static_cast<int>(rule.fragment),
                       static_cast<int>(rule.options), text_of(rule.mac), text_of(rule.interface));
  };
  std::string out = text(r);
  return out == text(plain) ? std::string() : out;
}

std::string rule_text(const Rule& r) {
  return fmt::format("{};{};{};{};{};{};{};{};{}", text_of(r.from), text_of(r.to), r.proto ? *r.proto : -1, text_of(r.from_port), text_of(r.to_port),
                     rare_text(r), r.audit, static_cast<int>(r.count), action_text(r.action));
}

}  // namespace penstock
