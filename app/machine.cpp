#include "app/machine.h"

#include <charconv>

namespace penstock {

std::map<std::string, std::string> machine_of(const Known& known) {
  std::map<std::string, std::string> out;
  for (const auto& [interface, own] : known.addresses) {
    if (own.v4) out[interface + " v4"] = own.v4->text();
    if (own.v6) out[interface + " v6"] = own.v6->text();
  }
  for (const auto& [interface, mtu] : known.mtu) out[interface + " mtu"] = std::to_string(mtu);
  for (const auto& [backend, source] : known.services.sources) out[backend.text() + " source"] = source.text();
  for (const auto& [backend, source] : known.services.sources) out[backend.text() + " source"] = source.text();
  return out;
}

void recall_machine(const std::map<std::string, std::string>& kept, Known& known) {
  for (const auto& [key, value] : kept) {
    const size_t space = key.rfind(' ');
    if (space == std::string::npos) continue;
    const std::string interface = key.substr(0, space), what = key.substr(space + 1);
    const auto address = Address::parse(value);
    if (what == "mtu") {
      uint32_t mtu = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), mtu);
      if (error == std::errc{} && end == value.data() + value.size() && mtu != 0) known.mtu[interface] = mtu;
    } else if (address && what == "source") {
      if (const auto backend = Address::parse(interface)) known.services.sources.try_emplace(*backend, *address);
    } else if (address && (what == "v4" || what == "v6")) {
      NodeAddresses& own = known.addresses[interface];
      auto& place = what == "v4" ? own.v4 : own.v6;
      if (!place) place = *address;
    }
  }
}

}  // namespace penstock
