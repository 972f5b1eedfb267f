#include "bench/wireguard.h"

#include <linux/bpf.h>

#include <algorithm>
#include <random>

#include "bench/node.h"
#include "features/wireguard/config.h"

namespace penstock::bench {

namespace {

constexpr std::size_t sources = 65'536;

// An Ethernet frame with a WireGuard data message of 96 bytes to port 51820 of 198.51.100.1.
Traffic data_messages()
{
    Traffic out{std::vector<std::uint8_t>(14 + 20 + 8 + 96)};
    auto& p = out.packet;
    const auto put16 = [&p](std::size_t at, unsigned value) { p[at] = static_cast<std::uint8_t>(value >> 8), p[at + 1] = static_cast<std::uint8_t>(value); };
    put16(12, 0x0800);
    p[14] = 0x45;
    put16(16, static_cast<unsigned>(p.size() - 14));
    p[22] = 64, p[23] = 17;
    std::ranges::copy(std::initializer_list<std::uint8_t>{198, 51, 100, 1}, p.begin() + 30);
    put16(34, 51820), put16(36, 51820), put16(38, 8 + 96);
    p[42] = 4;
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < sources; ++i) {
        const auto word = random();
        out.sources.push_back({static_cast<std::uint8_t>(1 + word % 223), static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word >> 16), static_cast<std::uint8_t>(word >> 24)});
    }
    return out;
}

}  // namespace

std::vector<Row> measure_wireguard(const std::string& object, const std::string& only, const Options& options)
{
    const std::string name = "WireGuard data message passed, guard on";
    if (name.find(only) == std::string::npos)
        return {};
    Config config;
    Interface wan;
    wan.name = "wan", wan.match = {"bench0"};
    wan.extensions.set(WireGuard{.ports = {51820}, .handshakes = Rate{Counted::packets, 20, 1}});
    config.interfaces.push_back(wan);
    Policy edge;
    edge.name = "edge", edge.attach = {{"wan", {}}};
    config.policies.push_back(edge);
    const Node node(config);
    const auto traffic = data_messages();
    Harness harness(object, sources);
    const std::vector<Case> cases{{name, node.program(), &traffic, "", XDP_PASS}};
    return {harness.measure(cases, options).back()};
}

}  // namespace penstock::bench
