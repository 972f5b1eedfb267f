#include "core/kernel/bpf.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace penstock {

Result<Fd> create_map(const MapSpec& spec) {
  LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = spec.flags);
  const int fd = bpf_map_create(spec.type, spec.name.substr(0, 15).c_str(), spec.key_size, spec.value_size, spec.entries, &opts);
  if (fd < 0)
    return fail_errno(fmt::format("cannot create the map {} ({} entries of {} bytes)", spec.name, spec.entries, spec.value_size), errno);
  return Fd(fd);
}

Result<Fd> open_pin(const std::string& path) {
  const int fd = bpf_obj_get(path.c_str());
  if (fd < 0) return fail_errno(fmt::format("cannot open {}", path), errno);
  return Fd(fd);
}

Result<> pin(int fd, const std::string& path) {
  if (bpf_obj_pin(fd, path.c_str()) < 0) return fail_errno(fmt::format("cannot pin {}", path), errno);
  return {};
}

Result<> map_update(int map, const void* key, const void* value, uint64_t flags) {
  if (bpf_map_update_elem(map, key, value, flags) < 0) return fail_errno("cannot update a map", errno);
  return {};
}

Result<std::map<Bytes, Bytes>> map_entries(int map) {
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  std::map<Bytes, Bytes> out;
  Bytes key(info.key_size), next(info.key_size), value(info.value_size);
  // A key that is gone leads back to the first: the walk may begin anew, so it has an end of its own.
  for (uint64_t turn = 0; turn < 4ull * info.max_entries; ++turn) {
    if (bpf_map_get_next_key(map, turn == 0 ? nullptr : key.data(), next.data()) < 0) {
      if (errno == ENOENT) return out;
      return fail_errno("cannot walk a map", errno);
    }
    key = next;
    if (bpf_map_lookup_elem(map, key.data(), value.data()) == 0) out[key] = value;
  }
  return out;
}

Result<> map_delete(int map, const void* key) {
  if (bpf_map_delete_elem(map, key) < 0 && errno != ENOENT) return fail_errno("cannot delete from a map", errno);
  return {};
}

Result<bpf_map_info> map_info(int map) {
  bpf_map_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(map, &info, &size) < 0) return fail_errno("cannot query a map", errno);
  return info;
}

Result<bpf_prog_info> program_info(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &size) < 0) return fail_errno("cannot query a program", errno);
  return info;
}

Result<Fd> program_by_id(uint32_t id) {
  const int fd = bpf_prog_get_fd_by_id(id);
  if (fd < 0) return fail_errno(fmt::format("cannot open program {}", id), errno);
  return Fd(fd);
}

Result<bool> same_program(int one, int other) {
  TRY_ASSIGN(const bpf_prog_info a, program_info(one));
  TRY_ASSIGN(const bpf_prog_info b, program_info(other));
  return std::memcmp(a.tag, b.tag, sizeof a.tag) == 0;  // a digest of what was loaded, before the verifier changed it
}

Result<std::vector<Fd>> program_maps(int program) {
  TRY_ASSIGN(const bpf_prog_info counts, program_info(program));
  std::vector<uint32_t> ids(counts.nr_map_ids);
  bpf_prog_info info{};
  info.nr_map_ids = counts.nr_map_ids;
  info.map_ids = reinterpret_cast<uint64_t>(ids.data());
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &size) < 0) return fail_errno("cannot query the maps of a program", errno);
  std::vector<Fd> out;
  for (const uint32_t id : ids) {
    out.emplace_back(bpf_map_get_fd_by_id(id));
    if (!out.back()) return fail_errno(fmt::format("cannot open map {}", id), errno);
  }
  return out;
}

Result<Mapping> map_memory(int map) {
  TRY_ASSIGN(const bpf_map_info info, map_info(map));
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t stride = (info.value_size + 7u) / 8 * 8;
  const size_t size = (stride * info.max_entries + page - 1) / page * page;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (memory == MAP_FAILED) return fail_errno(fmt::format("cannot map the memory of {}", info.name), errno);
  return Mapping(memory, size);
}

Result<> ensure_bpffs() {
  constexpr const char* path = "/sys/fs/bpf";
  struct statfs fs {};
  if (statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC) return {};
  if (mkdir(path, 0700) < 0 && errno != EEXIST)
    return fail_errno(fmt::format("cannot make {}", path), errno, "mount sysfs at /sys");
  if (mount("bpf", path, "bpf", 0, "mode=0700") < 0)
    return fail_errno(fmt::format("cannot mount a bpffs at {}", path), errno, "penstock needs root, and a kernel with CONFIG_BPF_SYSCALL");
  return {};
}

namespace {
uint64_t nanoseconds(const timespec& t) { return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec); }
}  // namespace

uint64_t coarse_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return nanoseconds(t);
}

uint64_t coarse_tick() {
  timespec t{};
  clock_getres(CLOCK_MONOTONIC_COARSE, &t);
  return nanoseconds(t);
}

void sleep_until(uint64_t coarse) {
  for (uint64_t now = coarse_now(); now < coarse; now = coarse_now()) std::this_thread::sleep_for(std::chrono::nanoseconds(coarse - now));
}

}  // namespace penstock
