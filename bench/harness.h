// Measures XDP programs by BPF_PROG_RUN, packet after packet with another source address.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct bpf_object;

namespace penstock::bench {

// What rules ask of a packet.  Addresses as in `Traffic::sources`, by enum ps_side; ports in host order.
struct Flow {
    std::array<std::uint8_t, 16> address[2];
    std::uint16_t port[2];
    std::uint8_t protocol;
    std::uint32_t verdict;            // the XDP action that it must get
};

// The packet that a case sends, and the source addresses (network order; IPv4 in the first four bytes) or the flows
// written into it one after the other, again from the start when all are used; without any the packet stays as it is
// and the program runs without the wrapper.  `restored`: the program changes the packet, whose first 64 bytes and length are
// put back before each run (the wrapper's part in the times); such a packet has 64 bytes at least, and no sources.
struct Traffic {
    std::vector<std::uint8_t> packet;
    bool ipv6 = false;
    std::vector<std::array<std::uint8_t, 16>> sources = {};
    std::vector<Flow> flows = {};
    bool restored = false;

    std::size_t size() const { return sources.size() + flows.size(); }
};

// An Ethernet frame of 64 bytes with TCP in IPv4, or 78 with TCP in IPv6, from :: to a fixed address.
std::vector<std::uint8_t> tcp_packet(bool ipv6);

struct Case {
    std::string name;
    int program = -1;                 // fd of the XDP program
    const Traffic* traffic = nullptr;
    std::string peer;                 // name of the case it is compared with; may be empty
    std::uint32_t verdict = 0;        // the XDP action that every source must get, checked on some; flows have their own
};

// Times are CPU ns per packet, the wrapper's part included.  x_empty is the ratio of minima to the bare
// empty program of the same rounds; x_peer how many times faster than the peer.
struct Row {
    std::string name;
    double min_ns = 0, median_ns = 0, x_empty = 0;
    std::string peer;
    double x_peer = 0;
};

struct Options {
    unsigned rounds = 5;
    std::uint32_t repeat = 1'000'000;  // packets of one measurement
};

class Harness {
public:
    // Loads the wrapper and the empty program from the object file of programs.bpf.c; throws
    // std::runtime_error.  `addresses` is the longest table of sources or flows that a case may have.
    Harness(const std::string& object, std::uint32_t addresses);
    ~Harness();

    // Rows for the empty program and each case, all of them measured once in each round.  Throws std::runtime_error if a verdict differs.
    std::vector<Row> measure(std::span<const Case> cases, const Options& options);

private:
    struct Table {
        int wrapper = -1;
        std::size_t stride = 0;
        void* memory = nullptr;
        std::size_t size = 0;
    };
    Table& table(const Case& one) { return tables_[one.traffic->restored && one.traffic->size() == 0 ? 4 : one.traffic->ipv6 + 2 * !one.traffic->flows.empty()]; }
    void point(const Case& one);
    double run(int program, const std::vector<std::uint8_t>& packet, std::uint32_t repeat);
    void check(const Case& one);
    void check(const Case& one, int program, std::vector<std::uint8_t>& out, std::size_t source);

    bpf_object* object_ = nullptr;
    int empty_ = -1, target_ = -1;
    std::uint64_t* next_ = nullptr;
    std::uint32_t addresses_;
    Table tables_[5];  // addresses, then flows; of IPv4, of IPv6; the packet to be restored
};

// The rows as a table on the terminal, and as a list of objects in a file.
void print(std::span<const Row> rows);
void write_json(std::span<const Row> rows, const std::string& path);

}  // namespace penstock::bench
