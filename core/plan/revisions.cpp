#include "core/plan/revisions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/plan/revision_tables.h"

namespace penstock {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int format_version = 3;

std::string hex_digest(XXH3_state_t* state) {
  const XXH128_hash_t h = XXH3_128bits_digest(state);
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

struct Hasher {
  XXH3_state_t* state = XXH3_createState();
  Hasher() { XXH3_128bits_reset(state); }
  ~Hasher() { XXH3_freeState(state); }
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void add(const void* data, size_t size) {
    const uint64_t length = size;  // lengths first: no two lists of parts read the same
    XXH3_128bits_update(state, &length, sizeof length);
    XXH3_128bits_update(state, data, size);
  }
  void add(const std::string& text) { add(text.data(), text.size()); }
  void add(const Bytes& bytes) { add(bytes.data(), bytes.size()); }
};

json to_json(const Location& at) { return at.known() ? json{at.file.text(), at.line, at.column} : json(nullptr); }
Location location_from(const json& j) {
  if (!j.is_array() || j.size() != 3) return {};
  return {j[0].get<std::string>(), j[1].get<uint32_t>(), j[2].get<uint32_t>()};
}

json to_json(const Revision& r) {
  json hooks = json::array(), sets = json::array();
  for (const HookImage& h : r.hooks)
    hooks.push_back({{"interface", h.interface}, {"match", h.match}, {"mode", h.mode}, {"object", h.object}, {"behind", h.behind}, {"raw", h.raw}, {"at", to_json(h.at)}});
  for (const SetImage& s : r.sets)
    sets.push_back({{"name", s.name}, {"index", s.index}, {"counters", s.counters}, {"structure", s.structure}, {"elements", s.elements}, {"number", s.number}});
  json backends = json::array();
  for (const BackendImage& b : r.backends) backends.push_back({b.service, b.backend, b.id});
  json devices = json::object();
  for (const auto& [ifindex, name] : r.devices) devices[std::to_string(ifindex)] = name;
  return {{"format", format_version}, {"revision", r.number}, {"generation", r.generation}, {"created", r.created}, {"user", r.user},
          {"source", r.source}, {"note", r.note}, {"hooks", hooks}, {"sets", sets}, {"backends", backends}, {"needs", r.needs},
          {"structures", r.structures}, {"digests", r.digests}, {"code", r.code}, {"devices", devices}, {"machine", r.machine}};
}

Revision revision_from(const json& j) {
  Revision r;
  r.number = j.at("revision");
  r.generation = j.at("generation");
  r.created = j.at("created");
  r.user = j.at("user");
  r.source = j.at("source");
  r.note = j.at("note");
  for (const json& h : j.at("hooks")) {
    HookImage hook;
    hook.interface = h.at("interface");
    hook.match = h.at("match");
    hook.mode = h.at("mode");
    hook.object = h.at("object");
    hook.behind = h.value("behind", "");
    hook.raw = h.value("raw", false);
    hook.at = location_from(h.at("at"));
    r.hooks.push_back(std::move(hook));
  }
  for (const json& s : j.at("sets"))
    r.sets.push_back({s.at("name"), s.at("index"), s.at("counters"), s.at("structure"), s.at("elements"), s.at("number")});
  for (const json& b : j.value("backends", json::array())) r.backends.push_back({b.at(0), b.at(1), b.at(2)});
  r.needs = j.value("needs", std::vector<std::string>());
  r.structures = j.at("structures").get<std::map<std::string, std::string>>();
  r.digests = j.at("digests").get<std::map<std::string, std::string>>();
  r.code = j.value("code", "");
  r.machine = j.value("machine", std::map<std::string, std::string>{});
  const json devices = j.value("devices", json::object());
  for (const auto& [ifindex, name] : devices.items()) r.devices[static_cast<uint32_t>(std::strtoul(ifindex.c_str(), nullptr, 10))] = name;
  return r;
}

Result<> write_file(const std::string& path, const std::string& text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return fail_errno(fmt::format("cannot write {}", path), errno);
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(file.get(), text.data() + done, text.size() - done);
    if (n < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
    done += static_cast<size_t>(n);
  }
  return {};
}

// Onto the disk: a file's content, or a directory's names.
Result<> flush(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || fsync(file.get()) < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

Result<> flush_tree(const std::string& directory) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) TRY(flush(it->path()));
  if (error) return fail(fmt::format("cannot read {}: {}", directory, error.message()));
  return flush(directory);
}

std::string read_text(const std::string& path) {
  std::string text;
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat about {};
  if (!file || fstat(file.get(), &about) < 0) return text;
  text.resize(static_cast<size_t>(about.st_size));
  const ssize_t n = ::read(file.get(), text.data(), text.size());
  text.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return text;
}

}  // namespace

const char* status_name(RevisionStatus status) {
  switch (status) {
    case RevisionStatus::candidate: return "candidate";
    case RevisionStatus::confirmed: return "confirmed";
    case RevisionStatus::reverted: return "reverted";
  }
  return "candidate";
}

std::string hook_key(const HookImage& hook) { return "hook " + hook.interface + (hook.raw ? " raw" : ""); }

std::map<std::string, std::string> digests_of(const Image& image) {
  std::map<std::string, std::string> out;
  for (const TableImage& t : image.tables) {
    if (t.state) continue;
    Hasher h;
    h.add(std::to_string(t.value_size));
    h.add(t.data);
    out["table " + t.map] = hex_digest(h.state);
  }
  for (const HookImage& hook : image.hooks) {
    Hasher h;
    h.add(hook.mode);
    h.add(hook.object);
    for (const std::string& pattern : hook.match) h.add(pattern);
    h.add("constants");
    for (const auto& [symbol, value] : hook.constants) {
      h.add(symbol);
      h.add(value);
    }
    h.add(hook.raw ? "raw" : "ethernet");
    if (!hook.behind.empty()) h.add(hook.behind);
    out[hook_key(hook)] = hex_digest(h.state);
  }
  Hasher h;
  for (const SetImage& s : image.sets) {
    h.add(s.name);
    h.add(std::to_string(s.index) + (s.counters ? "c" : ""));
  }
  for (const Slot& s : image.slots) {
    h.add(s.key());
    h.add(std::to_string(s.number));
  }
  out["names"] = hex_digest(h.state);
  return out;
}

std::vector<uint64_t> Revisions::numbers() const {
  std::vector<uint64_t> out;
  std::error_code error;
  for (fs::directory_iterator it(root_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (!name.empty() && name.size() < 19 && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }))
      out.push_back(std::stoull(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<Revision> Revisions::head(uint64_t number) const {
  const std::string path = directory(number) + "/meta.json";
  std::ifstream in(path);
  if (!in) return fail_errno(fmt::format("cannot read {}", path), errno, fs::exists(directory(number)) ? "" : "see `penstock history` for the revisions that are kept");
  const json j = json::parse(in, nullptr, false);
  if (j.is_discarded() || j.value("format", 0) != format_version) return fail(fmt::format("{} is damaged or of another version", path));
  try {
    Revision r = revision_from(j);
    r.status = status(number);
    return r;
  } catch (const json::exception& e) {
    return fail(fmt::format("{} is damaged: {}", path, e.what()));
  }
}

RevisionStatus Revisions::status(uint64_t number) const {
  const std::string text = read_text(directory(number) + "/status");
  return text.starts_with("confirmed") ? RevisionStatus::confirmed : text.starts_with("reverted") ? RevisionStatus::reverted : RevisionStatus::candidate;
}

Result<Revision> Revisions::with_parts(uint64_t number) const {
  TRY_ASSIGN(Revision r, head(number));
  if (!read_parts(read_text(directory(number) + "/parts"), r.parts)) return fail(fmt::format("{} is damaged", directory(number)));
  return r;
}

Result<Revision> Revisions::read(uint64_t number) const {
  TRY_ASSIGN(Revision r, with_parts(number));
  if (!read_slots(read_text(directory(number) + "/slots"), r.slots)) return fail(fmt::format("{} is damaged", directory(number)));
  return r;
}

std::string Revisions::device(uint32_t ifindex) const {
  const std::vector<Revision> known = heads();
  for (auto r = known.rbegin(); r != known.rend(); ++r)
    if (const auto name = r->devices.find(ifindex); name != r->devices.end()) return name->second;
  return {};
}

std::vector<Revision> Revisions::heads() const {
  std::vector<Revision> out;
  for (const uint64_t number : numbers())
    if (auto revision = head(number)) out.push_back(std::move(*revision));
  return out;
}

Result<> Revisions::save(const Revision& revision, const std::string& config, const std::map<std::string, std::string>& set_files) const {
  const std::string target = directory(revision.number);
  const std::string aside = target + ".new";
  std::error_code error;
  fs::remove_all(aside, error);
  // Whatever fails, a full disk above all, leaves nothing behind.
  struct Aside {
    const std::string& path;
    ~Aside() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } const cleanup{aside};
  TRY(make_directories(aside + "/sets"));
  TRY(write_file(aside + "/node.yaml", config));
  TRY(write_file(aside + "/meta.json", to_json(revision).dump(1)));
  TRY(write_file(aside + "/slots", slots_text(revision.slots)));
  TRY(write_file(aside + "/parts", parts_text(revision.parts)));
  TRY(write_file(aside + "/status", status_name(revision.status)));
  for (const auto& [set, path] : set_files) {
    if (path.starts_with(root_ + "/")) {  // a copy already, which nobody writes to
      fs::create_hard_link(path, aside + "/sets/" + set, error);
      if (!error) continue;
    }
    fs::copy_file(path, aside + "/sets/" + set, fs::copy_options::overwrite_existing, error);
    if (error) return fail(fmt::format("cannot keep a copy of {}: {}", path, error.message()), "the state directory may be full");
  }
  if (fs::exists(target)) {
    TRY(flush_tree(aside));
    if (renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) < 0) return fail_errno(fmt::format("cannot write {}", target), errno);
    return {};
  }
  fs::rename(aside, target, error);
  if (error) return fail(fmt::format("cannot write {}: {}", target, error.message()));
  return {};
}

Result<> Revisions::sync(uint64_t number) const {
  TRY(flush_tree(directory(number)));
  return flush(root_);
}

Result<> Revisions::set_status(uint64_t number, RevisionStatus status) const {
  const std::string path = directory(number) + "/status";
  if (!fs::exists(directory(number))) return {};
  if (read_text(path) == status_name(status)) return {};
  // In place: a word within one sector is the old or the new one, and on the disk with a single flush.  A boot goes by it.
  const std::string_view word = status_name(status);
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file || pwrite(file.get(), word.data(), word.size(), 0) != static_cast<ssize_t>(word.size()) ||
      ftruncate(file.get(), static_cast<off_t>(word.size())) < 0 || fsync(file.get()) < 0)
    return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

void Revisions::prune(size_t keep, const std::vector<uint64_t>& needed) const {
  const std::vector<uint64_t> have = numbers();
  if (have.size() <= keep) return;
  std::error_code error;
  for (size_t i = 0; i + keep < have.size(); ++i)
    if (std::find(needed.begin(), needed.end(), have[i]) == needed.end()) fs::remove_all(directory(have[i]), error);
}

std::vector<Slot> Revisions::known_slots(uint64_t except) const {
  std::vector<Slot> out;
  std::vector<bool> seen;
  const auto fresh = [&](uint32_t number) {
    if (number >= seen.size()) seen.resize(number + 1);
    const bool is = !seen[number];
    seen[number] = true;
    return is;
  };
  std::vector<uint64_t> known = numbers();
  for (auto number = known.rbegin(); number != known.rend(); ++number)
    if (*number != except && head(*number)) read_slots(read_text(directory(*number) + "/slots"), fresh, out);
  return out;
}

}  // namespace penstock
