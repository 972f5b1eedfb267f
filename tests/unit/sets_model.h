// The plain model of a set: for each length, longest first, is the address's prefix listed?  Shares
// nothing with the tables.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

class SetModel {
public:
    // `bits` is the address as a string of '0' and '1', 32 or 128 of them.
    void add(const std::string& bits, unsigned length, std::uint32_t id) { prefixes_[bits.substr(0, length)] = id; }

    std::uint32_t find(const std::string& bits) const
    {
        for (auto length = static_cast<int>(bits.size()); length >= 0; --length)
            if (const auto found = prefixes_.find(bits.substr(0, static_cast<std::size_t>(length))); found != prefixes_.end())
                return found->second;
        return 0;
    }

private:
    std::unordered_map<std::string, std::uint32_t> prefixes_;
};
