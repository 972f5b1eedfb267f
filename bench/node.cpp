#include "bench/node.h"

#include <chrono>
#include <stdexcept>
#include <utility>
#include <vector>

#include "app/compile.h"
#include "tests/model/listed.h"

namespace penstock::bench {

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin)
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Config config_of(std::span<const sets::Element> elements, bool counters)
{
    std::vector<Prefix> prefixes;
    prefixes.reserve(elements.size());
    for (const auto& element : elements)
        prefixes.push_back(prefix_of(element));
    auto config = drop_listed(std::move(prefixes), counters);
    if (elements.empty()) {
        config.sets.clear();
        config.policies.front().rules.clear();
    }
    return config;
}

template <class T>
T checked(Result<T> result)
{
    if (!result)
        throw std::runtime_error(result.error().message());
    return std::move(*result);
}

}  // namespace

Prefix prefix_of(const sets::Element& element)
{
    if (element.ipv6)
        return {{element.hi, element.lo}, element.length};
    return {Address::v4(static_cast<std::uint32_t>(element.hi >> 32)), static_cast<std::uint8_t>(element.length + 96)};
}

Node::Node(std::span<const sets::Element> elements, bool counters) : Node(config_of(elements, counters)) {}

Node::Node(const Config& config)
{
    Known known;
    known.sets.lanes = counter_lanes();
    auto begin = std::chrono::steady_clock::now();
    const auto image = checked(compile(config, known));
    compile_seconds_ = seconds_since(begin);
    begin = std::chrono::steady_clock::now();
    loaded_ = checked(load_image(image, {}));
    load_seconds_ = seconds_since(begin);
    if (!image.sets.empty())
        structure_ = image.sets.front().structure;
    else if (!image.structures.empty())  // by policy; nodes here have one at most
        structure_ = image.structures.begin()->second;
}

}  // namespace penstock::bench
