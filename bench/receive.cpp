#include "bench/receive.h"

#include <linux/bpf.h>

#include <stdexcept>

#include "bench/node.h"
#include "core/net/packet_text.h"

namespace penstock::bench {

namespace {

Config backend(bool receives)
{
    Config config;
    Interface wan;
    wan.name = "wan", wan.match = {"bench0"};
    config.interfaces.push_back(wan);
    Policy edge;
    edge.name = "edge", edge.attach = {{"wan", {}}};
    config.policies.push_back(edge);
    if (receives) {
        Receive receive;
        receive.decap = {Decap::ipip, Decap::gue}, receive.gue_port = 6080;
        receive.from.prefixes = {parse_prefix("10.0.0.5").prefix};
        config.receive = receive;
    }
    return config;
}

Traffic traffic(const char* text, bool restored)
{
    auto packet = packet_from_text(text);
    if (!packet)
        throw std::runtime_error(packet.error().message());
    Traffic out{std::move(*packet)};
    out.restored = restored;
    return out;
}

}  // namespace

std::vector<Row> measure_receive(const std::string& object, const std::string& only, const Options& options)
{
    const std::string name = "encapsulated packet stripped and passed";
    if (name.find(only) == std::string::npos)
        return {};
    const Node with(backend(true)), without(backend(false));
    const auto ipip = traffic("ip ipip 10.0.0.5 > 10.0.1.11 carrying tcp 192.0.2.7:4000 > 198.51.100.10:443 ack length 40", true);
    const auto ipip6 = traffic("ip ipv6 10.0.0.5 > 10.0.1.11 carrying tcp [2001:db8::7]:4000 > [2001:db8:f::10]:443 ack length 40", true);
    const auto gue = traffic("udp 10.0.0.5:40000 > 10.0.1.11:6080 carrying tcp 192.0.2.7:4000 > 198.51.100.10:443 ack length 40", true);
    const auto plain = traffic("tcp 192.0.2.7:4000 > 198.51.100.10:443 ack length 40", true);
    const std::vector<Case> cases{{name + ", IPIP", with.program(), &ipip, "", XDP_PASS},
                                  {name + ", 6 in 4", with.program(), &ipip6, "", XDP_PASS},
                                  {name + ", GUE", with.program(), &gue, "", XDP_PASS},
                                  {"plain TCP packet passed by a backend", with.program(), &plain, "", XDP_PASS},
                                  {"plain TCP packet passed, no receive", without.program(), &plain, "", XDP_PASS}};
    auto rows = Harness(object, 1).measure(cases, options);
    rows.erase(rows.begin());
    return rows;
}

}  // namespace penstock::bench
