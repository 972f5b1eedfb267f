#include "bench/sets.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/core.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <stdexcept>

#include "bench/node.h"
#include "bench/prefixes.h"
#include "features/sets/extra.h"
#include "features/sets/table.h"

namespace penstock::bench {

namespace {

using namespace sets;

// The programs beside the node's: LPM tries for `elements` prefixes, and run-time elements alone.
class Programs {
public:
    Programs(const std::string& object, std::uint32_t elements)
    {
        object_ = bpf_object__open_file(object.c_str(), nullptr);
        if (!object_)
            throw std::runtime_error("open " + object);
        bpf_program* program = nullptr;
        bpf_object__for_each_program(program, object_)
        {
            const std::string name = bpf_program__name(program);
            bpf_program__set_autoload(program, name.starts_with("set_") || name.starts_with("trie"));
        }
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object_)
        {
            const std::string name = bpf_map__name(map);
            if (name == "target" || name.starts_with("addresses") || name.starts_with("flows") || name == "next")
                bpf_map__set_autocreate(map, false);
        }
        resize("lpm6", elements);
        resize("lpm4", elements);
        if (const int error = bpf_object__load(object_))
            throw std::runtime_error(fmt::format("load {}: {}", object, std::strerror(-error)));
    }
    Programs(const Programs&) = delete;
    Programs& operator=(const Programs&) = delete;
    ~Programs() { bpf_object__close(object_); }

    int program(const char* name) const { return bpf_program__fd(bpf_object__find_program_by_name(object_, name)); }
    int map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

    // Swaps in the run-time elements of set 0.
    void set_extras(const std::vector<set_line>& lines)
    {
        LIBBPF_OPTS(bpf_map_create_opts, flags, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP, );
        const int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "set_extra_lines", 4, sizeof(set_line), static_cast<__u32>(lines.size()), &flags);
        if (inner < 0)
            throw std::runtime_error(fmt::format("create the map of run-time elements: {}", std::strerror(errno)));
        fill(inner, "run-time elements", lines.data(), lines.size() * sizeof(set_line));
        const __u32 zero = 0;
        const int failed = bpf_map_update_elem(map("set_extra"), &zero, &inner, BPF_ANY);
        close(inner);
        const __u32 some = 1;
        if (failed || bpf_map_update_elem(map("set_extra_counts"), &zero, &some, BPF_ANY))
            throw std::runtime_error(fmt::format("swap in the run-time elements: {}", std::strerror(errno)));
    }

    void fill_trie(std::span<const Element> elements)
    {
        struct Key {
            std::uint32_t length;
            std::uint32_t address[4];
        };
        for (const auto& element : elements) {
            Key key{element.length,
                    {htonl(static_cast<std::uint32_t>(element.hi >> 32)), htonl(static_cast<std::uint32_t>(element.hi)),
                     htonl(static_cast<std::uint32_t>(element.lo >> 32)), htonl(static_cast<std::uint32_t>(element.lo))}};
            if (bpf_map_update_elem(map(element.ipv6 ? "lpm6" : "lpm4"), &key, &element.id, BPF_ANY))
                throw std::runtime_error(fmt::format("fill the trie: {}", std::strerror(errno)));
        }
    }

private:
    static void fill(int fd, const char* name, const void* from, std::size_t size)
    {
        if (size == 0)
            return;
        void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            throw std::runtime_error(fmt::format("mmap {}: {}", name, std::strerror(errno)));
        std::memcpy(memory, from, size);
        munmap(memory, size);
    }
    void resize(const char* name, std::uint32_t entries) { bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, name), entries); }

    bpf_object* object_ = nullptr;
};

struct Group {
    std::string name;
    bool ipv6;
    Layout layout;
    std::size_t count;
};

double seconds_since(std::chrono::steady_clock::time_point begin)
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void append(std::vector<Row>& all, std::vector<Row> more)
{
    for (auto& row : more)
        if (all.empty() || row.name != all[0].name)
            all.push_back(std::move(row));
}

Node load_node(const Group& group, std::span<const Element> elements, bool counters)
{
    Node node(elements, counters);
    fmt::print("# {}{}: {}, compiled in {:.2f} s, loaded and filled in {:.2f} s\n", group.name, counters ? ", hit counters" : "",
               node.structure(), node.compile_seconds(), node.load_seconds());
    return node;
}

std::vector<Row> measure_group(const Group& group, const std::string& object, Harness& harness, bool peers, const Options& options)
{
    const auto elements = prefixes(group.ipv6, group.layout, group.count, 1);
    const bool few = group.count < 1000;
    const Traffic dropped{tcp_packet(group.ipv6), group.ipv6, inside(elements, 2)};
    const Traffic passed{tcp_packet(group.ipv6), group.ipv6, outside(elements, group.layout, few ? 1000 : group.count, 3)};

    const auto plain = load_node(group, elements, false), counting = load_node(group, elements, true);
    const auto trie_row = [&](const char* what) { return group.name + ", LPM trie, " + what; };
    const auto peer = [&](const char* what) { return peers ? trie_row(what) : ""; };
    std::vector<Case> cases{
        {group.name + ", dropped", plain.program(), &dropped, peer("dropped"), XDP_DROP},
        {group.name + ", passed", plain.program(), &passed, peer("passed"), XDP_PASS},
        {group.name + ", hit counters, dropped", counting.program(), &dropped, peer("dropped"), XDP_DROP},
        {group.name + ", hit counters, passed", counting.program(), &passed, peer("passed"), XDP_PASS},
    };
    if (!peers)
        return harness.measure(cases, options);
    Programs trie(object, static_cast<std::uint32_t>(elements.size()));
    const auto begin = std::chrono::steady_clock::now();
    trie.fill_trie(elements);
    fmt::print("# {}: LPM trie filled in {:.2f} s\n", group.name, seconds_since(begin));
    const int program = trie.program(group.ipv6 ? "trie6" : "trie4");
    cases.push_back({trie_row("dropped"), program, &dropped, "", XDP_DROP});
    cases.push_back({trie_row("passed"), program, &passed, "", XDP_PASS});
    return harness.measure(cases, options);
}

constexpr const char* no_set = "a node with one policy, no set, default accept: TCP/IPv4 packet passed, counters on";

// No set, so no addresses to vary: the program runs without the wrapper.
std::vector<Row> measure_no_set(Harness& harness, const Options& options)
{
    const Node node({}, false);
    const Traffic traffic{tcp_packet(false), false, {}};
    Options longer = options;
    longer.rounds *= 4;
    const std::vector<Case> cases{{no_set, node.program(), &traffic, "", XDP_PASS}};
    return harness.measure(cases, longer);
}

// Run-time elements alone: alive ones drop; once all but a /0 that ends later have expired, that drops too.
std::vector<Row> measure_extras(const std::string& object, Harness& harness, const Options& options)
{
    const auto elements = prefixes(false, Layout::spread, 100'000, 1);
    const Traffic traffic{tcp_packet(false), false, inside(elements, 2)};
    std::vector<ExtraElement> alive, expired;
    for (const auto& element : elements) {
        alive.push_back({element, 0});
        expired.push_back({element, 1});
    }
    expired.push_back({Element::ipv4(0, 0, 1), 0});
    const std::string name = "100,000 run-time IPv4 elements";
    const auto begin = std::chrono::steady_clock::now();
    const auto lines = build_extra(alive).lines();
    fmt::print("# {}: {:.1f} MiB, built in {:.2f} s\n", name, static_cast<double>(lines.size()) * sizeof(set_line) / (1 << 20), seconds_since(begin));
    Programs first(object, 1), second(object, 1), none(object, 1);
    first.set_extras(lines);
    second.set_extras(build_extra(expired).lines());
    for (auto& one : expired)
        one.expiry = 1;
    none.set_extras(build_extra(expired).lines());
    const std::vector<Case> cases{
        {name + ", dropped", first.program("set_extras"), &traffic, "", XDP_DROP},
        {name + ", expired, a wider one uncovered, dropped", second.program("set_extras"), &traffic, "", XDP_DROP},
        {name + ", all expired, passed", none.program("set_extras"), &traffic, "", XDP_PASS},
    };
    return harness.measure(cases, options);
}

}  // namespace

std::vector<Row> measure_sets(const std::string& object, const std::string& only, bool peers, const Options& options)
{
    constexpr std::uint32_t million = 1'000'000;
    const std::vector<Group> groups{
        {"10 IPv4 prefixes", false, Layout::spread, 10},
        {"200 IPv4 prefixes", false, Layout::spread, 200},
        {"10,000 IPv4 prefixes", false, Layout::spread, 10'000},
        {"1 M IPv4 prefixes, spread", false, Layout::spread, million},
        {"1 M IPv4 prefixes, clustered", false, Layout::clustered, million},
        {"10 IPv6 prefixes", true, Layout::spread, 10},
        {"1 M IPv6 prefixes, spread", true, Layout::spread, million},
        {"1 M IPv6 prefixes, clustered", true, Layout::clustered, million},
    };
    Harness harness(object, million);
    std::vector<Row> rows;
    if (std::string(no_set).find(only) != std::string::npos)
        append(rows, measure_no_set(harness, options));
    for (const auto& group : groups)
        if (group.name.find(only) != std::string::npos)
            append(rows, measure_group(group, object, harness, peers, options));
    if (std::string("run-time elements").find(only) != std::string::npos)
        append(rows, measure_extras(object, harness, options));
    return rows;
}

}  // namespace penstock::bench
