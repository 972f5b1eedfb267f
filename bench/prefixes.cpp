#include "bench/prefixes.h"

#include <algorithm>
#include <map>
#include <random>
#include <stdexcept>
#include <unordered_set>
#include <utility>

namespace penstock::bench {

namespace {

using sets::Element;
using Random = std::mt19937_64;
using Address = unsigned __int128;

Address mask(unsigned length)
{
    return length == 0 ? 0 : ~Address{0} << (128 - length);
}

Address address_of(const Element& element)
{
    return Address{element.hi} << 64 | element.lo;
}

Address any(Random& random)
{
    const std::uint64_t hi = random(), lo = random();
    return Address{hi} << 64 | lo;
}

// 1.0.0.0 to 223.255.255.255, or 2000::/3; left aligned.
Address unicast(bool ipv6, Random& random)
{
    if (ipv6)
        return any(random) >> 3 | Address{1} << 125;
    for (;;) {
        const auto address = any(random) & mask(32);
        const auto top = static_cast<unsigned>(address >> 120);
        if (top >= 1 && top < 224)
            return address;
    }
}

// How many of a million have each length; index is the length.  What is missing gets the last length.
std::vector<double> mix(bool ipv6, Layout layout)
{
    std::vector<double> of(ipv6 ? 129 : 33, 0);
    if (ipv6) {
        for (unsigned length = 32; length < 128; ++length)
            of[length] = 500;
        of[32] = layout == Layout::spread ? 2000 : 8;
        of[48] = 350'000, of[56] = 100'000, of[64] = 300'000;
        if (layout == Layout::clustered)   // few wide ones, or they would cover the clusters
            for (unsigned length = 33; length < 40; ++length)
                of[length] = 20;
    } else if (layout == Layout::spread) {
        const double wide[] = {2, 2, 4, 8, 16, 32, 64, 128, 512, 512, 1024, 2048, 4096, 4096, 8192, 8192, 300'000};
        std::ranges::copy(wide, of.begin() + 8);
        std::fill(of.begin() + 25, of.begin() + 32, 20'000);
    } else {
        std::fill(of.begin() + 8, of.begin() + 17, 2);
        const double wide[] = {16, 64, 200, 400, 800, 1500, 3000, 20'000};
        std::ranges::copy(wide, of.begin() + 17);
        std::fill(of.begin() + 25, of.begin() + 32, 36'000);
    }
    return of;
}

struct Hash {
    std::size_t operator()(const std::pair<std::uint64_t, std::uint64_t>& key) const
    {
        return (key.first * 0x9e3779b97f4a7c15ULL) ^ (key.second * 0xc2b2ae3d27d4eb4fULL) ^ (key.first >> 29);
    }
};

Source network_order(Address address)
{
    Source bytes{};
    for (unsigned i = 0; i < 16; ++i)
        bytes[i] = static_cast<std::uint8_t>(address >> (120 - 8 * i));
    return bytes;
}

unsigned cluster_length(bool ipv6)
{
    return ipv6 ? 32 : 16;
}

}  // namespace

std::vector<Element> prefixes(bool ipv6, Layout layout, std::size_t count, std::uint64_t seed)
{
    Random random(seed);
    const unsigned longest = ipv6 ? 128 : 32, cluster = cluster_length(ipv6);
    std::vector<Address> clusters(256);
    for (auto& one : clusters)
        one = unicast(ipv6, random) & mask(cluster);
    const auto per_million = mix(ipv6, layout);
    std::vector<Element> elements;
    elements.reserve(count);
    std::unordered_set<std::pair<std::uint64_t, std::uint64_t>, Hash> seen;
    seen.reserve(count * 2);
    const auto add = [&](unsigned length) {
        for (;;) {
            auto address = unicast(ipv6, random);
            if (layout == Layout::clustered && length > cluster - (ipv6 ? 1 : 0))
                address = clusters[random() % clusters.size()] | (address & ~mask(cluster));
            address &= mask(length);
            const auto hi = static_cast<std::uint64_t>(address >> 64), lo = static_cast<std::uint64_t>(address);
            if (!seen.insert({hi ^ length, lo}).second)
                continue;
            elements.push_back({hi, lo, static_cast<std::uint32_t>(elements.size() + 1), static_cast<std::uint8_t>(length), ipv6});
            return;
        }
    };
    for (unsigned length = 0; length < longest; ++length)
        for (double n = per_million[length] * static_cast<double>(count) / 1e6; n >= 0.5 && elements.size() < count; --n)
            add(length);
    while (elements.size() < count)
        add(longest);
    std::ranges::shuffle(elements, random);
    return elements;
}

std::vector<Source> inside(std::span<const Element> elements, std::uint64_t seed)
{
    Random random(seed);
    std::vector<Source> sources;
    sources.reserve(elements.size());
    for (const auto& element : elements)
        sources.push_back(network_order(address_of(element) | (any(random) & ~mask(element.length))));
    std::ranges::shuffle(sources, random);
    return sources;
}

std::vector<Source> outside(std::span<const Element> elements, Layout layout, std::size_t count, std::uint64_t seed)
{
    Random random(seed);
    const bool ipv6 = elements.front().ipv6;
    const auto cluster = cluster_length(ipv6);
    std::vector<std::pair<Address, Address>> covered;  // first, last; merged
    std::map<Address, std::size_t> population;
    for (const auto& element : elements) {
        covered.push_back({address_of(element), address_of(element) | ~mask(element.length)});
        ++population[address_of(element) & mask(cluster)];
    }
    std::ranges::sort(covered);
    std::vector<std::pair<Address, Address>> merged;
    for (const auto& range : covered) {
        if (!merged.empty() && range.first <= merged.back().second)
            merged.back().second = std::max(merged.back().second, range.second);
        else
            merged.push_back(range);
    }
    std::vector<Address> clusters;
    for (const auto& [address, size] : population)
        if (size >= 100)
            clusters.push_back(address);
    if (layout == Layout::clustered && clusters.empty())
        throw std::runtime_error("no clusters");

    std::vector<Source> sources;
    sources.reserve(count);
    for (std::size_t tries = 0; sources.size() < count; ++tries) {
        if (tries > 1000 * count)
            throw std::runtime_error("the prefixes leave nothing outside");
        auto address = unicast(ipv6, random);
        if (layout == Layout::clustered)
            address = clusters[random() % clusters.size()] | (address & ~mask(cluster));
        const auto after = std::upper_bound(merged.begin(), merged.end(), std::pair{address, ~Address{0}});
        if (after == merged.begin() || std::prev(after)->second < address)
            sources.push_back(network_order(address));
    }
    return sources;
}

}  // namespace penstock::bench
