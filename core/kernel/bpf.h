// The bpf(2) system call with owned descriptors and errors in words.
#pragma once
#include <linux/bpf.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/base/result.h"

namespace penstock {

struct MapSpec {
  bpf_map_type type = BPF_MAP_TYPE_ARRAY;
  std::string name;
  uint32_t key_size = 4;
  uint32_t value_size = 8;
  uint32_t entries = 1;
  uint32_t flags = 0;
};

Result<Fd> create_map(const MapSpec& spec);
Result<Fd> open_pin(const std::string& path);                  // any BPF object
Result<> pin(int fd, const std::string& path);                 // fails where the path exists
Result<> map_update(int map, const void* key, const void* value, uint64_t flags = BPF_ANY);
// Every entry of a hash map, each key once, though entries come and go meanwhile: bytes of keys and values.
Result<std::map<Bytes, Bytes>> map_entries(int map);
Result<> map_delete(int map, const void* key);                 // no error where there is none
Result<bpf_map_info> map_info(int map);
Result<bpf_prog_info> program_info(int program);
Result<Fd> program_by_id(uint32_t id);
// Do both consist of the same instructions, whatever their constants and maps?
Result<bool> same_program(int one, int other);
Result<std::vector<Fd>> program_maps(int program);             // every map that it refers to

// All of an array made with BPF_F_MMAPABLE.  Element i lies at i * round_up(value_size, 8).
Result<Mapping> map_memory(int map);

// Mounts a bpffs at /sys/fs/bpf where there is none.
Result<> ensure_bpffs();

// The clock that programs compare with (CLOCK_MONOTONIC_COARSE), ns, and its tick.
uint64_t coarse_now();
uint64_t coarse_tick();
void sleep_until(uint64_t coarse);  // as coarse_now() counts

}  // namespace penstock
