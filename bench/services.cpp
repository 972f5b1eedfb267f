#include "bench/services.h"

#include <fmt/core.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "bench/node.h"
#include "core/kernel/bpf.h"
#include "core/net/packet_text.h"
#include "features/services/nat_tables.h"

namespace penstock::bench {

namespace {

constexpr std::uint32_t flood = 4'000'000;

// Ten services over both families, of ten backends each.
Config balancer(const std::string& encap, const std::string& flows)
{
    std::string text = fmt::format("version: 1\ninterfaces: {{ a: {{ match: a }} }}\nflows: {}\nservices:\n", flows);
    if (const bool full = encap == "full"; full || encap == "nat") {
        // One backend each, so that it is known whose replies come.
        for (int s = 0; s < 10; ++s)
            text += fmt::format("  s{}: {{ frontend: 198.51.100.{}:443/tcp, mode: nat, source-nat: {}, backends: {{ b: {{ address: 10.0.{}.10, port: 8443 }} }} }}\n", s, 10 + s, full ? "yes" : "no", s);
        auto config = load_config_text("bench.yaml", text);
        if (!config)
            throw std::runtime_error(config.error().message());
        return std::move(*config);
    }
    for (int s = 0; s < 10; ++s) {
        text += fmt::format("  s{0}:\n    frontend: [198.51.100.{1}:443/tcp, 198.51.100.{1}:443/udp, \"[2001:db8:f::{1}]:443/tcp\"]\n    encap: {2}\n    backends:\n", s, 10 + s, encap);
        for (int b = 0; b < 10; ++b)
            text += encap == "ipip6" ? fmt::format("      b{1}: {{ address: \"2001:db8:1::{0}{1}\" }}\n", s, b) : fmt::format("      b{1}: {{ address: 10.0.{0}.{2} }}\n", s, b, 10 + b);
    }
    if (const auto at = text.find("ipip6"); at != text.npos)
        for (std::size_t i = at; i != text.npos; i = text.find("ipip6"))
            text.replace(i, 5, "ipip");
    auto config = load_config_text("bench.yaml", text);
    if (!config)
        throw std::runtime_error(config.error().message());
    return std::move(*config);
}

// The way to each backend is known already, and stays so: what is measured asks no table of the kernel.
void know_ways(const Node& node)
{
    const auto info = map_info(node.map("service_hops"));
    if (!info)
        throw std::runtime_error(info.error().message());
    ps_hop hop{};
    hop.until = hop.seen = ~0ull;
    hop.ifindex = 1'000'000;
    hop.mtu = 1500;
    hop.how = PS_HOP_REDIRECT;
    const std::vector<ps_hop> lanes(counter_lanes(), hop);
    for (std::uint32_t id = 0; id < info->max_entries; ++id)
        if (const auto done = map_update(node.map("service_hops"), &id, lanes.data()); !done)
            throw std::runtime_error(done.error().message());
}

std::vector<Flow> flows_of(std::uint32_t count, bool ipv6, std::uint8_t protocol, std::uint32_t verdict)
{
    std::vector<Flow> out(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        Flow& f = out[i];
        f.protocol = protocol;
        f.verdict = verdict;
        const std::uint32_t number = (i + 1) * 2654435761u;  // odd: no two are equal
        const Address source = ipv6 ? Address{0x20010db8000c0000, number} : Address::v4(number | 1u << 31), to = ipv6 ? Address{0x20010db8000f0000, 0x10 + i % 10} : Address::v4(0xc633640a + i % 10);
        for (int side = 0; side < 2; ++side) {
            const auto wire = (side == 0 ? source : to).wire();
            std::copy(wire.begin() + (ipv6 ? 0 : 12), wire.end(), f.address[side].begin());
        }
        f.port[0] = static_cast<std::uint16_t>(1024 + number % 60000);
        f.port[1] = 443;
    }
    return out;
}

struct Kind {
    std::string name;
    std::string packet;
    const char* encap;
    const char* flows;             // that the table is for
    std::uint32_t count;
    bool ipv6 = false;
    std::uint8_t protocol = IPPROTO_TCP;
    std::uint32_t verdict = XDP_REDIRECT;
    bool replies = false;          // to the one flow, whose first packet goes before
};

// The flow's first packet; the reply to it, and the way to its client, become known.
Flow reply_of(const Node& node, const Flow& f, const std::vector<std::uint8_t>& packet)
{
    std::vector<std::uint8_t> frame = packet, out(frame.size() + 256);
    std::copy(f.address[0].begin(), f.address[0].begin() + 4, frame.begin() + 26);
    std::copy(f.address[1].begin(), f.address[1].begin() + 4, frame.begin() + 30);
    for (int side = 0; side < 2; ++side) {
        frame[34 + 2 * side] = static_cast<std::uint8_t>(f.port[side] >> 8);
        frame[35 + 2 * side] = static_cast<std::uint8_t>(f.port[side]);
    }
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_out = out.data(), .data_size_in = static_cast<std::uint32_t>(frame.size()), .data_size_out = static_cast<std::uint32_t>(out.size()), .repeat = 1);
    if (bpf_prog_test_run_opts(node.program(), &run) || run.retval != XDP_REDIRECT)
        throw std::runtime_error("a first packet is not forwarded");
    Flow reply = f;
    for (int side = 0; side < 2; ++side) {
        std::copy_n(out.begin() + 26 + 4 * side, 4, reply.address[1 - side].begin());
        reply.port[1 - side] = static_cast<std::uint16_t>(out[34 + 2 * side] << 8 | out[35 + 2 * side]);
    }
    ps_client_hop hop{};
    hop.address.lo = PS_V4_MARK | static_cast<std::uint32_t>(f.address[0][0] << 24 | f.address[0][1] << 16 | f.address[0][2] << 8 | f.address[0][3]);
    hop.hop.until = hop.hop.seen = ~0ull;
    hop.hop.ifindex = 1'000'000;
    hop.hop.mtu = 1500;
    hop.hop.how = PS_HOP_REDIRECT;
    const std::vector<ps_client_hop> lanes(counter_lanes(), hop);
    for (std::uint32_t at = 0; at < PS_CLIENT_HOPS; ++at)
        if (const auto done = map_update(node.map("service_client_hops"), &at, lanes.data()); !done)
            throw std::runtime_error(done.error().message());
    return reply;
}

}  // namespace

std::vector<Row> measure_services(const std::string& object, const std::string& only, const Options& options)
{
    const std::string ack = "tcp 192.0.2.7:4000 > 198.51.100.10:443 ack length 40", syn = "tcp 192.0.2.7:4000 > 198.51.100.10:443 syn length 40", udp = "udp 192.0.2.7:4000 > 198.51.100.10:443 length 40",
                      ack6 = "tcp [2001:db8:c::7]:4000 > [2001:db8:f::10]:443 ack length 40";
    const std::vector<Kind> kinds{
        {"service: packet of none, passed, 10 services", "tcp 192.0.2.7:4000 > 198.51.100.9:443 ack length 40", "ipip", "256k", 0, false, IPPROTO_TCP, XDP_PASS},
        {"service: TCP established, IPIP, one flow", ack, "ipip", "256k", 1},
        {"service: TCP established, IPIP, 65,536 flows", ack, "ipip", "256k", 65'536},
        {"service: TCP established, IPIP, 524,288 flows", ack, "ipip", "1M", 524'288},
        {"service: TCP SYN inserted, IPIP", syn, "ipip", "1024", 65'536},
        {"service: TCP SYN, IPIP, four million flows, evicting", syn, "ipip", "256k", flood},
        {"service: UDP established, IPIP, one flow", udp, "ipip", "256k", 1, false, IPPROTO_UDP},
        {"service: IPv6 established, 6 in 6, one flow", ack6, "ipip6", "256k", 1, true},
        {"service: IPv6 established, 6 in 6, 65,536 flows", ack6, "ipip6", "256k", 65'536, true},
        {"service: TCP established, GUE, one flow", ack, "gue", "256k", 1},
        {"service: TCP established, NAT, to the backend, one flow", ack, "nat", "256k", 1},
        {"service: TCP established, NAT, to the backend, 65,536 flows", ack, "nat", "256k", 65'536},
        {"service: TCP established, NAT, replies, one flow", ack, "nat", "256k", 1, false, IPPROTO_TCP, XDP_REDIRECT, true},
        {"service: TCP established, full NAT, to the backend, one flow", ack, "full", "256k", 1},
        {"service: TCP established, full NAT, replies, one flow", ack, "full", "256k", 1, false, IPPROTO_TCP, XDP_REDIRECT, true},
    };
    std::vector<Row> rows;
    std::unique_ptr<Harness> harness;
    for (const Kind& kind : kinds) {
        if (kind.name.find(only) == kind.name.npos)
            continue;
        if (!harness)
            harness = std::make_unique<Harness>(object, flood);
        auto packet = packet_from_text(kind.packet);
        if (!packet)
            throw std::runtime_error(packet.error().message());
        Traffic traffic{std::move(*packet), kind.ipv6};
        traffic.restored = true;
        if (kind.count)
            traffic.flows = flows_of(kind.count, kind.ipv6, kind.protocol, kind.verdict);
        const Node node(balancer(kind.encap, kind.flows));
        know_ways(node);
        if (kind.replies)
            traffic.flows[0] = reply_of(node, traffic.flows[0], traffic.packet);
        const std::vector<Case> cases{{kind.name, node.program(), &traffic, "", kind.verdict}};
        for (auto& row : harness->measure(cases, options))
            if (rows.empty() || row.name != rows[0].name)
                rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace penstock::bench
