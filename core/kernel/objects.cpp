#include "core/kernel/objects.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <span>

#include "bpf/clock.h"

// The objects as the build embedded them: symbols around their bytes.
#define PROGRAM(name, level, symbol) extern "C" const char symbol[], symbol##_end[];
#include "embedded.def"
#undef PROGRAM

namespace penstock {
namespace {

struct Embedded {
  const char* name;
  const char* level;
  const char* begin;
  const char* end;
};
const Embedded embedded[] = {
#define PROGRAM(name, level, symbol) {name, level, symbol, symbol##_end},
#include "embedded.def"
#undef PROGRAM
};

// libbpf's own messages repeat what we say better; the last warning is kept for errors that come before the verifier.
thread_local std::string last_warning;
int keep_warning(libbpf_print_level level, const char* format, va_list args) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  vsnprintf(line, sizeof line, format, args);
  last_warning = line;
  while (!last_warning.empty() && last_warning.back() == '\n') last_warning.pop_back();
  return 0;
}
const auto previous_print = libbpf_set_print(keep_warning);

bool loads(std::span<const bpf_insn> code, uint32_t flags = 0) {
  LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags);
  const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "ps_probe", "GPL", code.data(), code.size(), &opts);
  if (fd < 0) return false;
  close(fd);
  return true;
}

constexpr bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
  bpf_insn i{};
  i.code = code;
  i.dst_reg = dst & 15;
  i.src_reg = src & 15;
  i.off = off;
  i.imm = imm;
  return i;
}
constexpr bpf_insn mov(uint8_t dst, int32_t imm) { return insn(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm); }
constexpr bpf_insn leave = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

// How programs of the level `basic` tell the time: their jiffies, read by a program, against our clock within one tick.
Result<ps_clock_const> measure_clock() {
  TRY_ASSIGN(const Fd map, create_map({BPF_MAP_TYPE_ARRAY, "ps_jiffies", 4, 8, 1, BPF_F_MMAPABLE}));
  TRY_ASSIGN(const Mapping memory, map_memory(map.get()));
  const bpf_insn code[] = {insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_jiffies64),
                           insn(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map.get()), insn(0, 0, 0, 0, 0),
                           insn(BPF_STX | BPF_MEM | BPF_DW, 1, 0, 0, 0), mov(0, 2), leave};
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_XDP, "ps_jiffies", "GPL", code, std::size(code), nullptr));
  if (!program) return fail_errno("this kernel lets no program read its jiffies", errno);
  const std::array<uint8_t, 64> packet{};
  for (int attempt = 0; attempt < 1000; ++attempt) {
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet.data(), .data_size_in = packet.size(), .repeat = 1);
    const uint64_t before = coarse_now();
    if (bpf_prog_test_run_opts(program.get(), &run) < 0) return fail_errno("cannot run a program that reads the jiffies", errno);
    const uint64_t jiffies = *memory.as<const volatile uint64_t>();
    if (coarse_now() == before) return ps_clock_const{coarse_tick(), static_cast<int64_t>(before - jiffies * coarse_tick())};
  }
  return fail("the machine is too busy to compare its clocks", "try again");
}

std::vector<std::string> last_lines(const std::string& text, size_t count) {
  std::vector<std::string> lines;
  size_t start = 0;
  while (start < text.size()) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    if (end > start) lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(count));
  return lines;
}

constexpr size_t log_size = 1 << 20;

}  // namespace

const char* level_name(Level level) {
  switch (level) {
    case Level::may_goto: return "may_goto";
    case Level::atomics: return "atomics";
    case Level::basic: return "basic";
  }
  return "basic";
}

Result<Level> kernel_level() {
  static const Result<Level> level = []() -> Result<Level> {
    constexpr uint8_t jcond = 0xe0;  // BPF_JCOND, may_goto
    const bpf_insn may_goto[] = {mov(0, 2), insn(BPF_JMP | jcond, 0, 0, 0, 0), leave};
    const bpf_insn fetch[] = {mov(0, 0), insn(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8, 0),
                              insn(BPF_STX | BPF_ATOMIC | BPF_DW, 10, 0, -8, BPF_ADD | BPF_FETCH), mov(0, 2), leave};
    const bpf_insn nothing[] = {mov(0, 2), leave};
    if (loads(may_goto)) return Level::may_goto;
    if (loads(fetch)) return Level::atomics;
    if (loads(nothing)) return Level::basic;
    return fail_errno("this kernel refuses even an empty XDP program", errno, "penstock needs root (CAP_BPF and CAP_NET_ADMIN)");
  }();
  return level;
}

bool kernel_frags() {
  static const bool known = [] {
    const bpf_insn nothing[] = {mov(0, 2), leave};
    return loads(nothing, BPF_F_XDP_HAS_FRAGS);
  }();
  return known;
}

std::string object_digest(const std::string& name, Level level) {
  for (const Embedded& e : embedded) {
    if (name != e.name || std::strcmp(level_name(level), e.level) != 0) continue;
    const XXH128_hash_t h = XXH3_128bits(e.begin, static_cast<size_t>(e.end - e.begin));
    return fmt::format("{:016x}{:016x}", h.high64, h.low64);
  }
  return {};
}

void Object::Close::operator()(bpf_object* object) const { bpf_object__close(object); }

Result<Object> Object::open(const std::string& name, Level level) {
  for (const Embedded& e : embedded) {
    if (name != e.name || std::strcmp(level_name(level), e.level) != 0) continue;
    Object object;
    object.name_ = name;
    object.level_ = level;
    object.frags_ = level != Level::basic && kernel_frags();
    object.log_ = std::make_unique<std::string>(log_size, '\0');
    LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = e.name, .kernel_log_buf = object.log_->data(),
                .kernel_log_size = object.log_->size());
    object.object_.reset(bpf_object__open_mem(e.begin, static_cast<size_t>(e.end - e.begin), &opts));
    if (!object.object_) return fail_errno(fmt::format("cannot open the program {} ({}): {}", name, level_name(level), last_warning), errno);
    return object;
  }
  return fail(fmt::format("there is no program {} at level {} in this binary", name, level_name(level)));
}

namespace {

// .rodata as the object brings it, and the place of each variable in it.
struct Rodata {
  char* data = nullptr;
  size_t size = 0;
  struct Variable {
    std::string symbol;
    size_t offset, size;
  };
  std::vector<Variable> variables;
};

bool ends_with_rodata(std::string_view name) { return name.ends_with(".rodata"); }

Rodata rodata_of(bpf_object* object) {
  Rodata out;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (!ends_with_rodata(bpf_map__name(map))) continue;
    out.data = static_cast<char*>(const_cast<void*>(bpf_map__initial_value(map, &out.size)));
    break;
  }
  const btf* types = bpf_object__btf(object);
  const int section = types ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -1;
  if (!out.data || section < 0) return out;
  const btf_type* data = btf__type_by_id(types, static_cast<__u32>(section));
  const btf_var_secinfo* variable = btf_var_secinfos(data);
  for (int i = 0; i < btf_vlen(data); ++i, ++variable) {
    const btf_type* type = btf__type_by_id(types, variable->type);
    if (variable->offset + size_t{variable->size} <= out.size)
      out.variables.push_back({btf__name_by_offset(types, type->name_off), variable->offset, variable->size});
  }
  return out;
}

}  // namespace

Result<> Object::constant(const std::string& symbol, const Bytes& value) {
  const Rodata rodata = rodata_of(object_.get());
  for (const Rodata::Variable& v : rodata.variables) {
    if (v.symbol != symbol) continue;
    if (v.size != value.size()) return fail(fmt::format("constant {} of {} has {} bytes, not {}", symbol, name_, v.size, value.size()));
    std::memcpy(rodata.data + v.offset, value.data(), value.size());
    return {};
  }
  return fail(fmt::format("the program {} has no constant {}", name_, symbol));
}

bool Object::has_constant(const std::string& symbol) const {
  return std::ranges::any_of(rodata_of(object_.get()).variables, [&](const Rodata::Variable& v) { return v.symbol == symbol; });
}

Result<std::map<std::string, Bytes>> Object::constants_of(int program) const {
  const Rodata rodata = rodata_of(object_.get());
  TRY_ASSIGN(const std::vector<Fd> maps, program_maps(program));
  for (const Fd& map : maps) {
    TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
    if (!ends_with_rodata(info.name)) continue;
    if (info.value_size != rodata.size)
      return fail(fmt::format("the program {} that runs has {} bytes of constants, not {}: another version of penstock loaded it", name_, info.value_size, rodata.size), "apply again");
    Bytes value(info.value_size);
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(map.get(), &zero, value.data()) < 0) return fail_errno("cannot read the constants of a program", errno);
    std::map<std::string, Bytes> out;
    for (const Rodata::Variable& v : rodata.variables)
      out[v.symbol] = Bytes(value.begin() + static_cast<std::ptrdiff_t>(v.offset), value.begin() + static_cast<std::ptrdiff_t>(v.offset + v.size));
    return out;
  }
  return fail(fmt::format("the program {} that runs has no constants", name_));
}

bool Object::has_map(const std::string& name) const { return bpf_object__find_map_by_name(object_.get(), name.c_str()) != nullptr; }

Result<MapSpec> Object::map_spec(const std::string& name) const {
  const bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) return fail(fmt::format("the program {} has no map {}", name_, name));
  return MapSpec{bpf_map__type(map), name, bpf_map__key_size(map), bpf_map__value_size(map), bpf_map__max_entries(map), bpf_map__map_flags(map)};
}

Result<> Object::reuse(const std::string& name, int fd) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) return fail(fmt::format("the program {} has no map {}", name_, name));
  // libbpf takes over whatever the other map is.
  TRY_ASSIGN(const bpf_map_info info, map_info(fd));
  if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) || info.value_size != bpf_map__value_size(map))
    return fail(fmt::format("the map {} is laid out otherwise: another version of penstock made it", name), "`penstock off`, then apply: what is saved on disk comes back");
  if (bpf_map__reuse_fd(map, fd) < 0) return fail_errno(fmt::format("cannot share the map {}", name), errno);
  return {};
}

Result<> Object::resize(const std::string& name, uint32_t entries) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) return fail(fmt::format("the program {} has no map {}", name_, name));
  if (bpf_map__set_max_entries(map, entries) < 0) return fail_errno(fmt::format("cannot size the map {}", name), errno);
  return {};
}

Result<> Object::leave_out(const std::string& name) {
  bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) return fail(fmt::format("the program {} has no map {}", name_, name));
  if (bpf_map__set_autocreate(map, false) < 0) return fail_errno(fmt::format("cannot leave out the map {}", name), errno);
  return {};
}

Result<> Object::load() {
  if (level_ == Level::basic) {
    static const Result<ps_clock_const> measured = measure_clock();  // once: all gates must agree on what time it is
    TRY_ASSIGN(const ps_clock_const clock, measured);
    TRY(constant("clock_const", bytes_of(clock)));
  }
  bpf_program* program = nullptr;
  const char* strict = std::getenv("PENSTOCK_STRICT_ALIGNMENT");
  bpf_object__for_each_program(program, object_.get()) {
    if (strict && name_ == strict) bpf_program__set_flags(program, bpf_program__flags(program) | BPF_F_STRICT_ALIGNMENT);
    if (frags_ && bpf_program__type(program) == BPF_PROG_TYPE_XDP) bpf_program__set_flags(program, bpf_program__flags(program) | BPF_F_XDP_HAS_FRAGS);
  }
  last_warning.clear();
  const int error = bpf_object__load(object_.get());
  if (error == 0) return {};
  // ENOSPC: its words were longer than our buffer, which keeps their end; the reason stands there.
  Diagnostic d{fmt::format("the kernel refuses the program {}: {}", name_, error == -ENOSPC ? "see its last words" : std::strerror(-error))};
  d.detail = last_lines(log_->c_str(), 12);
  if (d.detail.empty() && !last_warning.empty()) d.detail.push_back(last_warning);
  if (error == -EPERM) d.hint = "penstock needs root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)";
  return fail(std::move(d));
}

int Object::program(const std::string& name) const {
  const bpf_program* program = bpf_object__find_program_by_name(object_.get(), name.c_str());
  return program ? bpf_program__fd(program) : -1;
}

int Object::map(const std::string& name) const {
  const bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  return map ? bpf_map__fd(map) : -1;
}

std::vector<std::string> Object::map_names() const {
  std::vector<std::string> out;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    const std::string name = bpf_map__name(map);
    if (name.find('.') == std::string::npos) out.push_back(name);
  }
  return out;
}

std::map<std::string, int> Object::maps() const {
  std::map<std::string, int> out;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    const std::string name = bpf_map__name(map);
    if (name.find('.') == std::string::npos && bpf_map__fd(map) >= 0) out[name] = bpf_map__fd(map);
  }
  return out;
}

}  // namespace penstock
