// Compiles the lookups of features/sets/lookup.bpf.h for this machine: the maps are plain vectors.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "features/sets/tables.h"

// Stands in for bpf_helpers.h.
#define __BPF_HELPERS__
#define SEC(name)
#define __uint(name, value) int name
#define __type(name, value) int name
#define __array(name, value) int name
#define __noinline static __attribute__((noinline))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

namespace native {

// A map: `size` bytes each at `data`; entries of a map of maps are the addresses of maps.
struct Memory {
    void* data = nullptr;
    std::size_t count = 0, size = 0;
    bool of_maps = false;
};
inline std::map<const void*, Memory>& maps()
{
    static std::map<const void*, Memory> all;
    return all;
}
inline unsigned cpu = 0;

template <typename T>
void bind(const void* map, std::vector<T>& memory)
{
    maps()[map] = {memory.data(), memory.size(), sizeof(T), false};
}

inline void* lookup(const void* map, const void* key)
{
    const auto found = maps().find(map);
    if (found == maps().end())
        return nullptr;
    const auto& memory = found->second;
    const auto at = *static_cast<const std::uint32_t*>(key);
    if (at >= memory.count)
        return nullptr;
    auto* entry = static_cast<char*>(memory.data) + at * memory.size;
    return memory.of_maps ? *reinterpret_cast<void**>(entry) : entry;
}

}  // namespace native

#define bpf_map_lookup_elem native::lookup
#define bpf_get_smp_processor_id() native::cpu

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "features/sets/lookup.bpf.h"
