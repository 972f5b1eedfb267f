#include "bench/harness.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace penstock::bench {

namespace {

[[noreturn]] void fail(const std::string& what, int error)
{
    throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(std::abs(error))));
}

void* map_memory(int fd, std::size_t size)
{
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        fail("mmap of a table", errno);
    return memory;
}

std::size_t pages(std::size_t size)
{
    return (size + 4095) / 4096 * 4096;
}

double cpu_ns()
{
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// As `struct original` of programs.bpf.c.
struct Original {
    std::uint64_t length;
    std::uint8_t bytes[64];
};

}  // namespace

std::vector<std::uint8_t> tcp_packet(bool ipv6)
{
    std::vector<std::uint8_t> packet(ipv6 ? 78 : 64);
    packet[12] = ipv6 ? 0x86 : 0x08;
    packet[13] = ipv6 ? 0xdd : 0x00;
    auto* ip = packet.data() + 14;
    if (ipv6) {
        ip[0] = 0x60;
        ip[5] = 24;                                // payload length
        ip[6] = 6;                                 // TCP
        ip[7] = 64;
        ip[24] = 0x20, ip[25] = 0x01, ip[39] = 1;  // to 2001::1
    } else {
        ip[0] = 0x45;
        ip[3] = 50;                                // total length
        ip[8] = 64;
        ip[9] = 6;
        ip[16] = 198, ip[17] = 51, ip[18] = 100, ip[19] = 10;
    }
    auto* tcp = ip + (ipv6 ? 40 : 20);
    tcp[0] = 0x9c, tcp[1] = 0x40;                  // from port 40000
    tcp[3] = 80;
    tcp[12] = 0x50;
    tcp[13] = 0x02;                                // SYN
    return packet;
}

Harness::Harness(const std::string& object, std::uint32_t addresses) : addresses_(addresses)
{
    object_ = bpf_object__open_file(object.c_str(), nullptr);
    if (!object_)
        fail("open " + object, errno);
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object_)
    {
        const std::string name = bpf_program__name(program);
        bpf_program__set_autoload(program, name == "empty" || name.find("wrapper") != name.npos);
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_)
    {
        const std::string name = bpf_map__name(map);
        const bool table = name.starts_with("addresses") || name.starts_with("flows");
        bpf_map__set_autocreate(map, table || name == "original" || name == "target" || name == "next");
        if (table)
            bpf_map__set_max_entries(map, addresses);
    }
    if (const int error = bpf_object__load(object_))
        fail("load " + object, error);
    const auto program_fd = [&](const char* name) { return bpf_program__fd(bpf_object__find_program_by_name(object_, name)); };
    const auto map_fd = [&](const char* name) { return bpf_object__find_map_fd_by_name(object_, name); };
    empty_ = program_fd("empty");
    target_ = map_fd("target");
    next_ = static_cast<std::uint64_t*>(map_memory(map_fd("next"), 4096));
    constexpr struct {
        const char *wrapper, *map;
        std::size_t stride;
    } kinds[] = {{"wrapper4", "addresses4", 8}, {"wrapper6", "addresses6", 16}, {"flow_wrapper4", "flows4", 16}, {"flow_wrapper6", "flows6", 48}, {"restoring_wrapper", "original", sizeof(Original)}};
    for (int i = 0; i < 5; ++i) {
        const auto size = pages(std::size_t{i < 4 ? addresses : 1} * kinds[i].stride);
        tables_[i] = {program_fd(kinds[i].wrapper), kinds[i].stride, map_memory(map_fd(kinds[i].map), size), size};
    }
}

Harness::~Harness()
{
    for (auto& table : tables_)
        if (table.memory)
            munmap(table.memory, table.size);
    if (next_)
        munmap(next_, 4096);
    bpf_object__close(object_);
}

// Makes the wrapper call the case's program with its sources.
void Harness::point(const Case& one)
{
    const std::uint32_t zero = 0;
    if (bpf_map_update_elem(target_, &zero, &one.program, BPF_ANY))
        fail("set the target " + one.name, errno);
    const auto& traffic = *one.traffic;
    auto* original = static_cast<Original*>(tables_[4].memory);
    original->length = 0;
    if (traffic.restored) {
        if (traffic.packet.size() < sizeof original->bytes)
            throw std::runtime_error(one.name + ": too short to be restored");
        std::memcpy(original->bytes, traffic.packet.data(), sizeof original->bytes);
        original->length = traffic.packet.size();
        if (traffic.size() == 0)
            return;
    }
    if (traffic.size() == 0 || traffic.size() > addresses_)
        throw std::runtime_error(one.name + ": too many source addresses, or none");
    const auto& to = table(one);
    const std::size_t length = traffic.ipv6 ? 16 : 4;
    auto* at = static_cast<std::uint8_t*>(to.memory);
    for (const auto& source : traffic.sources) {
        std::memcpy(at, source.data(), length);
        at += to.stride;
    }
    for (const auto& flow : traffic.flows) {
        for (int side = 0; side < 2; ++side) {
            std::memcpy(at + side * length, flow.address[side].data(), length);
            const std::uint16_t port = htons(flow.port[side]);
            std::memcpy(at + 2 * length + 2 * side, &port, sizeof port);
        }
        at[2 * length + 4] = flow.protocol;
        at += to.stride;
    }
    *next_ = std::uint64_t{traffic.size()} << 32;
}

// CPU ns for each of `repeat` runs; the call's fixed cost is some 100 us, so repeat is a million or more.
double Harness::run(int program, const std::vector<std::uint8_t>& packet, std::uint32_t repeat)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(),
                .data_size_in = static_cast<__u32>(packet.size()), .repeat = static_cast<int>(repeat), );
    const double begin = cpu_ns();
    if (bpf_prog_test_run_opts(program, &options))
        fail("BPF_PROG_RUN", errno);
    return (cpu_ns() - begin) / repeat;
}

void Harness::check(const Case& one)
{
    std::vector<std::uint8_t> out(256);
    const auto size = one.traffic->size();
    if (size == 0 && !one.traffic->restored) {
        check(one, one.program, out, 0);
        return;
    }
    point(one);
    if (size == 0) {
        check(one, table(one).wrapper, out, 0);
        return;
    }
    const auto count = std::min<std::size_t>(size, 2000);
    const auto step = size / count;
    for (std::size_t i = 0; i < count; ++i) {
        *next_ = std::uint64_t{size} << 32 | i * step;
        check(one, table(one).wrapper, out, i * step);
    }
}

void Harness::check(const Case& one, int program, std::vector<std::uint8_t>& out, std::size_t source)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = one.traffic->packet.data(), .data_out = out.data(),
                .data_size_in = static_cast<__u32>(one.traffic->packet.size()),
                .data_size_out = static_cast<__u32>(out.size()), .repeat = 1, );
    if (bpf_prog_test_run_opts(program, &options))
        fail("BPF_PROG_RUN", errno);
    const auto verdict = one.traffic->flows.empty() ? one.verdict : one.traffic->flows[source].verdict;
    if (options.retval != verdict)
        throw std::runtime_error(fmt::format("{}: verdict {} for source {}, expected {}", one.name, options.retval, source, verdict));
}

std::vector<Row> Harness::measure(std::span<const Case> cases, const Options& options)
{
    std::map<std::string, std::vector<double>> times;
    const std::string bare = "empty XDP_DROP";
    for (const auto& one : cases)
        check(one);
    const auto packet = tcp_packet(false);
    for (unsigned round = 0; round < options.rounds; ++round) {
        times[bare].push_back(run(empty_, packet, 4 * options.repeat));
        for (const auto& one : cases) {
            if (one.traffic->size() == 0 && !one.traffic->restored) {
                times[one.name].push_back(run(one.program, one.traffic->packet, 4 * options.repeat));
                continue;
            }
            point(one);
            times[one.name].push_back(run(table(one).wrapper, one.traffic->packet, options.repeat));
        }
    }
    const auto least = [&](const std::string& name) { return *std::ranges::min_element(times.at(name)); };
    std::vector<Row> rows;
    const auto add = [&](const std::string& name, const std::string& peer) {
        auto& all = times.at(name);
        std::ranges::sort(all);
        rows.push_back({name, all.front(), all[all.size() / 2], all.front() / least(bare), peer, peer.empty() ? 0 : least(peer) / all.front()});
    };
    add(bare, "");
    for (const auto& one : cases)  // a peer that was not asked for is not measured
        add(one.name, times.contains(one.peer) ? one.peer : "");
    return rows;
}

void print(std::span<const Row> rows)
{
    fmt::print("{:<52} {:>9} {:>9} {:>7}  {}\n", "row", "min ns", "median", "x", "peer");
    for (const auto& row : rows) {
        const auto peer = row.peer.empty() ? "" : fmt::format("{:.1f} times faster than {}", row.x_peer, row.peer);
        fmt::print("{:<52} {:>9.1f} {:>9.1f} {:>7.1f}  {}\n", row.name, row.min_ns, row.median_ns, row.x_empty, peer);
    }
}

void write_json(std::span<const Row> rows, const std::string& path)
{
    auto list = nlohmann::json::array();
    for (const auto& row : rows) {
        nlohmann::json one{{"name", row.name}, {"min_ns", row.min_ns}, {"median_ns", row.median_ns}, {"x_empty", row.x_empty}};
        one["peer"] = row.peer.empty() ? nlohmann::json{} : nlohmann::json(row.peer);
        one["x_peer"] = row.peer.empty() ? nlohmann::json{} : nlohmann::json(row.x_peer);
        list.push_back(one);
    }
    std::ofstream file(path);
    file << list.dump(2) << '\n';
    if (!file.flush())
        throw std::runtime_error("write " + path);
}

}  // namespace penstock::bench
