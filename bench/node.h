// The real thing under the bench: the node's own program and tables, compiled and loaded as `apply` does.
#pragma once

#include <span>

#include "app/config.h"
#include "core/net/address.h"
#include "core/plan/loader.h"
#include "features/sets/table.h"

namespace penstock::bench {

// An element as the file's prefix.
Prefix prefix_of(const sets::Element& element);

class Node {
public:
    // A node with one interface and one policy that accepts by default.  With elements, the policy has one
    // rule: drop what comes from the set of these elements; with `counters` each of them counts its hits.
    // Rules and exits are counted in any case.  Throws std::runtime_error.
    Node(std::span<const sets::Element> elements, bool counters);

    // The node's first interface.  Throws std::runtime_error.
    explicit Node(const Config& config);

    int program() const { return loaded_.program(0); }       // fd
    int map(const std::string& name) const { return loaded_.map(name); }  // fd
    const std::string& structure() const { return structure_; }  // of the set or else the rules, as `status` shows it
    double compile_seconds() const { return compile_seconds_; }
    double load_seconds() const { return load_seconds_; }

private:
    Loaded loaded_;
    std::string structure_ = "no set";
    double compile_seconds_ = 0, load_seconds_ = 0;
};

}  // namespace penstock::bench
