// bench: measures and writes the table of figures.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "bench/harness.h"
#include "bench/limits.h"
#include "bench/node.h"
#include "bench/prefixes.h"
#include "bench/receive.h"
#include "bench/rules.h"
#include "bench/services.h"
#include "bench/sets.h"
#include "bench/wireguard.h"

int main(int argc, char** argv)
{
    CLI::App app{"Measures XDP programs packet by packet and writes the rows as JSON."};
    std::string out = "bench.json", only;
    penstock::bench::Options options;
    app.add_option("--out", out, "file of the rows")->capture_default_str();
    app.add_option("--only", only, "only groups of rows whose name contains this text");
    bool no_peers = false;
    app.add_flag("--no-peers", no_peers, "leave the peers out: quicker");
    app.add_option("--rounds", options.rounds, "measurements of each row")->capture_default_str()->check(CLI::Range(1, 100));
    app.add_option("--repeat", options.repeat, "packets of a measurement")->capture_default_str()->check(CLI::Range(1000, 100'000'000));
    std::string list;
    app.add_option("--list", list, "only print a million prefixes, one a line")->check(CLI::IsMember({"ipv4", "ipv6"}));
    std::size_t rules = 0;
    std::uint64_t seed = 1;
    app.add_option("--rules", rules, "only print this many rules, as in a policy of a file")->check(CLI::Range(1, 100'000));
    app.add_option("--seed", seed, "which rules")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        if (!list.empty()) {
            using namespace penstock::bench;
            for (const auto& element : prefixes(list == "ipv6", Layout::spread, 1'000'000, 1))
                fmt::print("{}\n", prefix_of(element).text());
            return 0;
        }
        if (rules) {
            fmt::print("{}", penstock::bench::rules_text(rules, seed));
            return 0;
        }
        auto rows = penstock::bench::measure_sets(PENSTOCK_BENCH_OBJECT, only, !no_peers, options);
        for (auto& row : penstock::bench::measure_rules(PENSTOCK_BENCH_OBJECT, only, options))
            rows.push_back(std::move(row));
        for (auto& row : penstock::bench::measure_wireguard(PENSTOCK_BENCH_OBJECT, only, options))
            rows.push_back(std::move(row));
        for (auto& row : penstock::bench::measure_receive(PENSTOCK_BENCH_OBJECT, only, options))
            rows.push_back(std::move(row));
        for (auto& row : penstock::bench::measure_limits(PENSTOCK_BENCH_OBJECT, only, !no_peers, options))
            rows.push_back(std::move(row));
        for (auto& row : penstock::bench::measure_services(PENSTOCK_BENCH_OBJECT, only, options))
            rows.push_back(std::move(row));
        penstock::bench::print(rows);
        penstock::bench::write_json(rows, out);
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return 1;
    }
    return 0;
}
