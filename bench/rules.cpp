#include "bench/rules.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <memory>

#include "bench/node.h"
#include "tests/model/rule_sets.h"

namespace penstock::bench {

namespace {

using rule_sets::Addresses;
using rule_sets::Family;

constexpr std::size_t flows = 32'000;

struct Set {
    std::string name;
    Family family;
    Addresses addresses;
    std::size_t count;
};

// Packets aimed at one rule after the other, with ports or ICMP where their protocol has them.
Traffic traffic_for(const std::vector<ClassifierRule>& rules, bool ipv6)
{
    rule_sets::Random random(7);
    Traffic out{tcp_packet(ipv6), ipv6};
    auto* ip = out.packet.data() + 14;
    const std::size_t transport = ipv6 ? 40 : 20, size = out.packet.size() - 14 - transport;
    ip[transport + 4] = 0, ip[transport + 5] = static_cast<std::uint8_t>(size);  // a datagram of UDP has its length here
    for (std::size_t i = 0; out.flows.size() < flows; ++i) {
        const auto packet = rule_sets::aim(rules[i % rules.size()], false, random);
        if (!(packet.flags & (ipv6 ? PS_IPV6 : PS_IPV4)))
            continue;
        if (ipv6 && packet.protocol != 6 && packet.protocol != 17 && packet.protocol != 58)
            continue;  // it may be an extension header
        Flow flow{};
        for (int side = 0; side < 2; ++side) {
            const auto wire = Address{packet.address[side].hi, packet.address[side].lo}.wire();
            std::copy(wire.begin() + (ipv6 ? 0 : 12), wire.end(), flow.address[side].begin());
            flow.port[side] = packet.port[side];
        }
        flow.protocol = packet.protocol;
        const long match = rule_sets::first_match(rules, packet);
        flow.verdict = match >= 0 && rules[static_cast<std::size_t>(match)].rule.verdict == PS_DROP ? XDP_DROP : XDP_PASS;
        out.flows.push_back(flow);
    }
    std::ranges::shuffle(out.flows, random);
    return out;
}

// One set, by itself: tables of two sets would push each other out of the caches.
Row measure_set(const Set& set, Harness& harness, const Options& options)
{
    const auto rules = rule_sets::generate(set.family, set.addresses, set.count, 1);
    const Node node(rule_sets::config_of(rules));
    fmt::print("# {}: {}, compiled in {:.2f} s, loaded and filled in {:.2f} s\n", set.name, node.structure(), node.compile_seconds(),
               node.load_seconds());
    const auto traffic = traffic_for(rules, set.addresses == Addresses::ipv6);
    const std::vector<Case> cases{{set.name, node.program(), &traffic, ""}};
    return harness.measure(cases, options).back();
}

}  // namespace

std::vector<Row> measure_rules(const std::string& object, const std::string& only, const Options& options)
{
    std::vector<Set> sets;
    const auto add = [&](Family family, Addresses addresses, std::size_t count) {
        const char* kind = addresses == Addresses::ipv6 ? " IPv6" : "";
        auto digits = std::to_string(count);
        for (auto at = static_cast<long>(digits.size()) - 3; at > 0; at -= 3)
            digits.insert(static_cast<std::size_t>(at), ",");
        sets.push_back({fmt::format("{}{} rules, {}", digits, kind, rule_sets::name(family)), family, addresses, count});
    };
    constexpr Family families[] = {Family::access_lists, Family::ip_chains, Family::firewalls};
    for (const std::size_t count : {10, 1'000, 10'000})
        for (const auto family : families)
            add(family, Addresses::ipv4, count);
    for (const auto family : families)
        add(family, Addresses::ipv6, 10'000);
    add(Family::access_lists, Addresses::ipv4, 100'000);

    std::unique_ptr<Harness> harness;
    std::vector<Row> rows;
    for (const auto& set : sets) {
        if (set.name.find(only) == std::string::npos)
            continue;
        if (!harness)
            harness = std::make_unique<Harness>(object, flows);
        rows.push_back(measure_set(set, *harness, options));
    }
    return rows;
}

std::string rules_text(std::size_t count, std::uint64_t seed)
{
    std::string out;
    std::size_t number = 0;
    for (const auto& one : rule_sets::generate(Family::access_lists, Addresses::mixed, count, seed)) {
        const auto& rule = one.rule;
        const auto& prefix = one.prefix;
        out += fmt::format("      - {{ name: r{}", number++);
        constexpr const char *sides[] = {"from", "to"}, *ports[] = {"from-port", "to-port"};
        for (int side = 0; side < 2; ++side)
            if (prefix[side])
                out += fmt::format(", {}: \"{}\"", sides[side], prefix[side]->text());
        if (rule.flags & PS_RULE_PROTO)
            out += fmt::format(", proto: {}", rule.proto);
        for (int side = 0; side < 2; ++side)
            if (rule.port_first[side] != 0 || rule.port_last[side] != 65535)
                out += fmt::format(", {}: {}-{}", ports[side], rule.port_first[side], rule.port_last[side]);
        out += fmt::format(", action: {} }}\n", rule.verdict == PS_DROP ? "drop" : "accept");
    }
    return out;
}

}  // namespace penstock::bench
