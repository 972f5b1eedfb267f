#include "bench/limits.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/core.h>
#include <linux/bpf.h>

#include <cstring>
#include <memory>
#include <stdexcept>

#include "bench/node.h"
#include "core/kernel/bpf.h"
#include "features/limits/bans.h"

namespace penstock::bench {

namespace {

constexpr std::uint32_t many = 65'536, flood = 4'000'000, banned = 100'000;

// `count` sources, spread over all of IPv4.
std::vector<std::array<std::uint8_t, 16>> sources(std::uint32_t count)
{
    std::vector<std::array<std::uint8_t, 16>> out(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t address = (i + 1) * 2654435761u;  // odd: no two are equal
        for (int byte = 0; byte < 4; ++byte)
            out[i][byte] = static_cast<std::uint8_t>(address >> (24 - 8 * byte));
    }
    return out;
}

// A node with one rule: drop what is over this limit.
Config limited(const std::string& limit)
{
    auto config = load_config_text("bench.yaml", fmt::format("version: 1\ninterfaces: {{ a: {{ match: a }} }}\npolicies:\n  p:\n    attach: [a.ingress]\n    rules:\n"
                                                             "      - {{ name: r, limit: {{ {} }}, action: drop }}\n", limit));
    if (!config)
        throw std::runtime_error(config.error().message());
    return std::move(*config);
}

// The peer: a limiter as tutorials have it, but right, on an LRU hash of so many entries.
class Peer {
public:
    Peer(const std::string& object, std::uint32_t entries)
    {
        object_ = bpf_object__open_file(object.c_str(), nullptr);
        if (!object_)
            throw std::runtime_error("open " + object);
        bpf_program* program = nullptr;
        bpf_object__for_each_program(program, object_)
            bpf_program__set_autoload(program, std::strcmp(bpf_program__name(program), "lru_limit") == 0);
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object_)
            bpf_map__set_autocreate(map, std::strcmp(bpf_map__name(map), "lru_buckets") == 0 || std::strcmp(bpf_map__name(map), "counters") == 0);
        bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, "lru_buckets"), entries);
        if (const int error = bpf_object__load(object_))
            throw std::runtime_error(fmt::format("load {}: {}", object, std::strerror(-error)));
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;
    ~Peer() { bpf_object__close(object_); }
    int program() const { return bpf_program__fd(bpf_object__find_program_by_name(object_, "lru_limit")); }

private:
    bpf_object* object_ = nullptr;
};

struct Group {
    std::string name;
    std::uint32_t sources;
};

std::vector<Row> measure_group(const Group& group, const std::string& object, Harness& harness, bool peers, const Options& options)
{
    const Traffic traffic{tcp_packet(false), false, sources(group.sources)};
    // One source must stay within its rate, as the others do: to take is more work than to refuse.
    const std::string rate = group.sources == 1 ? "rate: 100Mpps" : "rate: 100/s";
    const Node plain(limited(rate)), banning(limited(rate + ", ban: 5m"));
    const std::string name = "limit per source, " + group.name, peer = name + ", LRU hash";
    std::vector<Case> cases{
        {name, plain.program(), &traffic, peers ? peer : "", XDP_PASS},
        {"limit and ban per source, " + group.name, banning.program(), &traffic, peers ? peer : "", XDP_PASS},
    };
    std::unique_ptr<Peer> lru;
    if (peers) {
        lru = std::make_unique<Peer>(object, 2 * many);
        cases.push_back({peer, lru->program(), &traffic, "", XDP_PASS});
    }
    return harness.measure(cases, options);
}

std::vector<Row> measure_banned(Harness& harness, const Options& options)
{
    const Traffic traffic{tcp_packet(false), false, sources(banned)};
    const Node node(limited(fmt::format("rate: 1/min, ban: 1h, entries: {}", banned)));
    auto live = LiveLimits::of_maps(node.map("limits"), node.map("limit_lines"));
    if (!live)
        throw std::runtime_error(live.error().message());
    const auto now = ticks_now();
    std::uint64_t lost = 0;
    for (const auto& source : traffic.sources) {
        const auto address = Address::v4(static_cast<std::uint32_t>(source[0]) << 24 | source[1] << 16 | source[2] << 8 | source[3]);
        lost += !put_ban(*live, live->limits.front(), address, now, now + PS_TICKS(3'600'000'000'000ull));
    }
    if (lost)
        throw std::runtime_error(fmt::format("{} of {} bans found no place", lost, banned));
    const std::vector<Case> cases{{"100,000 banned sources, dropped", node.program(), &traffic, "", XDP_DROP}};
    auto rows = harness.measure(cases, options);
    if (const auto use = use_of(*live, live->limits.front()); use.banned != banned)
        throw std::runtime_error(fmt::format("{} of {} bans are left", use.banned, banned));
    return rows;
}

}  // namespace

std::vector<Row> measure_limits(const std::string& object, const std::string& only, bool peers, const Options& options)
{
    const std::vector<Group> groups{{"one source", 1}, {"65,536 sources", many}, {"four million spoofed sources", flood}};
    std::vector<Row> rows;
    const auto wanted = [&](const std::string& name) { return name.find(only) != name.npos; };
    std::unique_ptr<Harness> harness;
    const auto append = [&](std::vector<Row> more) {
        for (auto& row : more)
            if (rows.empty() || row.name != rows[0].name)
                rows.push_back(std::move(row));
    };
    const auto loaded = [&]() -> Harness& {
        if (!harness)
            harness = std::make_unique<Harness>(object, flood);
        return *harness;
    };
    for (const auto& group : groups)
        if (wanted("limit per source, " + group.name) || wanted("limit and ban per source, " + group.name))
            append(measure_group(group, object, loaded(), peers, options));
    if (wanted("100,000 banned sources"))
        append(measure_banned(loaded(), options));
    return rows;
}

}  // namespace penstock::bench
