#include "app/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace penstock {
namespace {

const std::string loopback = "lo";

// The kernel takes the larger of a device's and of `all` for arp_ignore, arp_announce and rp_filter.
std::optional<int> effective(const BackendFacts& facts, const std::string& device, const std::string& name) {
  const auto own = facts.setting(device, name), all = facts.setting("all", name);
  if (!own || !all) return {};
  return std::max(*own, *all);
}

std::string device_of(const BackendFacts& facts, uint32_t ifindex) {
  const auto found = std::ranges::find(facts.devices, ifindex, &Device::ifindex);
  return found == facts.devices.end() ? fmt::format("#{}", ifindex) : found->name;
}

Check check_frontend(const Address& frontend, const BackendFacts& facts) {
  const std::string name = "frontend " + frontend.text();
  const std::string add = fmt::format("ip address add {}/{} dev lo", frontend.text(), frontend.is_v4() ? 32 : 128);
  std::vector<std::string> elsewhere;
  for (const OwnAddress& own : facts.addresses) {
    if (own.address != frontend) continue;
    const std::string device = device_of(facts, own.ifindex);
    if (device != loopback) {
      elsewhere.push_back(device);
    } else if (own.length != 128) {
      return {Health::warn, name, fmt::format("on lo with its network, all of which this host then takes for its own"),
              fmt::format("ip address del {}/{} dev lo; {}", frontend.text(), frontend.is_v4() ? own.length - 96 : own.length, add)};
    }
  }
  if (!elsewhere.empty())
    return {Health::warn, name, fmt::format("on {}: this host answers there who asks for the address, as the balancer does", elsewhere.front()),
            fmt::format("{}, and remove it from {}", add, elsewhere.front())};
  const bool there = std::ranges::any_of(facts.addresses, [&](const OwnAddress& own) { return own.address == frontend; });
  if (there) return {Health::ok, name, "on lo"};
  return {Health::fail, name, "no address of this host: stripped packets for it are forwarded or lost", add};
}

// `wanted`: what the setting must at least be.
Check check_arp(const std::string& device, const std::string& setting, int wanted, const std::string& harm, const BackendFacts& facts) {
  const auto value = effective(facts, device, setting);
  const std::string name = device + " " + setting;
  if (!value) return {Health::warn, name, "cannot be read"};
  if (*value >= wanted) return {Health::ok, name, std::to_string(*value)};
  return {Health::warn, name, fmt::format("{}: {}", *value, harm), fmt::format("sysctl net.ipv4.conf.{}.{}={}", device, setting, wanted)};
}

Check check_reverse_path(const std::string& device, const BackendFacts& facts) {
  constexpr int strict = 1;
  const auto value = effective(facts, device, "rp_filter");
  const std::string name = device + " rp_filter";
  if (!value) return {Health::warn, name, "cannot be read"};
  if (*value != strict) return {Health::ok, name, std::to_string(*value)};
  return {Health::warn, name, "1, strict: drops the stripped packets of clients to whom the route leaves by another device", fmt::format("sysctl net.ipv4.conf.{}.rp_filter=2", device)};
}

}  // namespace

Result<BackendFacts> backend_facts() {
  BackendFacts out;
  out.devices = list_devices();
  TRY_ASSIGN(out.addresses, own_addresses());
  out.setting = [](const std::string& device, const std::string& name) -> std::optional<int> {
    std::ifstream in("/proc/sys/net/ipv4/conf/" + device + "/" + name);
    int value = 0;
    return in >> value ? std::optional(value) : std::nullopt;
  };
  return out;
}

std::vector<Check> check_backend(const Config& config, const BackendFacts& facts) {
  std::vector<Check> out;
  if (!config.receive) return out;
  const Receive& receive = *config.receive;
  if (receive.frontends.empty())
    out.push_back({Health::ok, "receive", "names no `frontends`, so their addresses and ARP are not looked at"});
  for (const Address& frontend : receive.frontends) out.push_back(check_frontend(frontend, facts));
  const bool v4 = std::ranges::any_of(receive.frontends, &Address::is_v4);
  for (const Device& device : facts.devices) {
    const bool receives = std::ranges::any_of(config.interfaces, [&](const Interface& i) { return receive.stands_on(i.name) && matches(i, device.name); });
    if (!receives) continue;
    if (v4 && device.ethernet) {
      out.push_back(check_arp(device.name, "arp_ignore", 1, "answers whoever asks for an address of lo, so clients of this network may leave the balancer out", facts));
      out.push_back(check_arp(device.name, "arp_announce", 2, "may name an address of lo when it asks for others, so neighbours learn it", facts));
    }
    out.push_back(check_reverse_path(device.name, facts));
  }
  return out;
}

}  // namespace penstock
