#include "app/prepare.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <set>

#include "app/machine.h"
#include "app/services.h"
#include "core/config/reader.h"
#include "core/kernel/route.h"
#include "core/plan/shared_maps.h"
#include "features/limits/state.h"
#include "features/policy/talkers.h"
#include "features/services/state.h"
#include "features/sets/elements.h"
#include "features/syn_proxy/config.h"
#include "features/syn_proxy/state.h"

namespace penstock {
namespace {

// "sshd" and the parent of a process, from /proc/PID/stat: "PID (NAME) S PPID ...".
bool read_process(pid_t pid, std::string& name, pid_t& parent) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::string text(std::istreambuf_iterator<char>(in), {});
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 4 >= text.size()) return false;
  name = text.substr(open + 1, close - open - 1);
  parent = std::atoi(text.c_str() + close + 4);
  return true;
}

bool descends_from_sshd(pid_t pid) {
  std::string name;
  for (int depth = 0; pid > 1 && depth < 64; ++depth) {
    pid_t parent = 0;
    if (!read_process(pid, name, parent)) return false;
    if (name.starts_with("sshd")) return true;
    pid = parent;
  }
  return false;
}

// For each interface the first address of each family that its devices have; of IPv6 one that is valid beyond the link.
Result<std::map<std::string, NodeAddresses>> node_addresses(const std::vector<Interface>& interfaces) {
  std::map<std::string, NodeAddresses> out;
  TRY_ASSIGN(const std::vector<OwnAddress> own, own_addresses());
  const std::vector<Device> devices = list_devices();
  const Prefix link_local{Address{0xfe80ull << 48, 0}, 10};
  for (const Interface& interface : interfaces)
    for (const Device& device : devices) {
      if (!matches(interface, device.name)) continue;
      NodeAddresses& found = out[interface.name];
      for (const OwnAddress& a : own) {
        if (a.ifindex != device.ifindex || link_local.contains(a.address)) continue;
        std::optional<Address>& place = a.address.is_v4() ? found.v4 : found.v6;
        if (!place) place = a.address;
      }
    }
  return out;
}

// What revisions tell of what runs and of what ran; read while the file is.
struct Past {
  std::optional<Revision> current;
  std::vector<Slot> slots;
};
Past read_past(const Revisions& revisions, uint64_t runs) {
  Past out{{}, revisions.known_slots()};
  if (runs != 0)
    if (auto current = revisions.with_parts(runs)) out.current = std::move(*current);
  return out;
}

// Where the text comes from: a file, or a kept revision, to be applied anew or brought back as it is.
struct Source {
  std::string file;
  std::optional<uint64_t> revision;
  bool brings_back = false;
};

// What a SYN proxy must know of this host, where the file has one; a warning for each that cannot be one.
Result<> look_for_syn_proxy(Prepared& out, Known& known) {
  const auto& interfaces = out.config.interfaces;
  if (std::ranges::none_of(interfaces, [](const Interface& i) { return i.extensions.get<SynProxy>() != nullptr; })) return {};
  known.tcp = tcp_settings();
  for (const Interface& interface : interfaces) {
    const auto* proxy = interface.extensions.get<SynProxy>();
    if (!proxy) continue;
    for (const Device& device : list_devices()) {
      if (!matches(interface, device.name)) continue;
      TRY_ASSIGN(const DeviceInfo info, device_info(device));
      const auto [mtu, first] = known.mtu.emplace(interface.name, info.mtu);
      mtu->second = std::min(mtu->second, info.mtu);
    }
    if (known.tcp.no_cookies.empty()) continue;
    Diagnostic d{fmt::format("the SYN proxy of {} sends no cookies: {}; SYNs beyond its rate are dropped", interface.name, known.tcp.no_cookies)};
    d.at = proxy->at;
    d.hint = kernel_takes_cookies() ? "sysctl net.ipv4.tcp_syncookies=1, then apply again" : "the rate is then a limit: choose it accordingly";
    out.warnings.push_back(std::move(d));
  }
  return {};
}

Result<Prepared> prepare(const Instance& instance, const Source& from);

}  // namespace

std::string who_asks() {
  if (const char* name = std::getenv("SUDO_USER")) return name;
  if (const passwd* entry = getpwuid(getuid())) return entry->pw_name;
  return std::to_string(getuid());
}

bool over_ssh() {
  // A terminal multiplexer's server is nobody's child, but it keeps the variables of the session that started it.
  return std::getenv("SSH_CONNECTION") || std::getenv("SSH_TTY") || descends_from_sshd(getpid());
}

Result<Config> config_of(const Instance& instance, const Revision& revision) {
  const Revisions revisions(instance);
  TRY_ASSIGN(std::string text, read_text(revisions.file(revision.number)));
  return load_config_text(revision.source, std::move(text), revisions.directory(revision.number) + "/sets");
}

Result<size_t> most_rule_entries() {
  TRY_ASSIGN(const Level level, kernel_level());
  return level == Level::may_goto ? PS_RULES_MAX_may_goto : level == Level::atomics ? PS_RULES_MAX_atomics : PS_RULES_MAX_basic;
}

Result<Prepared> prepare(const Instance& instance, const std::string& file, std::optional<uint64_t> revision) {
  return prepare(instance, Source{file, revision});
}

Result<Prepared> prepare_kept(const Instance& instance, uint64_t number) { return prepare(instance, Source{{}, number, true}); }

namespace {

Result<Prepared> prepare(const Instance& instance, const Source& from) {
  Prepared out;
  out.grace = begin_grace_period(instance);
  out.host = std::async(std::launch::async, look_at_host);
  const Revisions revisions(instance);
  Revision& next = out.change.revision;
  auto running = observe(instance);
  // Confirmed, then cut off: the next command finishes it, and it is what runs already.
  if (running && running->transaction && running->transaction->confirmed()) running->state.generation = running->transaction->to;
  auto past = std::async(std::launch::async, [&revisions, runs = running ? running->state.generation : 0] { return read_past(revisions, runs); });
  std::optional<Revision> kept;
  if (from.revision) {
    TRY_ASSIGN(kept, revisions.head(*from.revision));
    TRY_ASSIGN(out.config, config_of(instance, *kept));
    next.source = kept->source;
    next.note = fmt::format("rollback to {}", *from.revision);
  } else {
    TRY_ASSIGN(out.config, load_config(from.file));
    char* absolute = realpath(from.file.c_str(), nullptr);
    next.source = absolute ? absolute : from.file;
    std::free(absolute);
  }
  out.warnings = out.config.warnings;
  out.change.config = out.config.text;
  for (const Set& set : out.config.sets)
    if (!set.file.empty()) out.change.set_files[set.name] = set.read_from;

  Known known;
  TRY_ASSIGN(known.addresses, node_addresses(out.config.interfaces));
  if (!running) return Failure(std::move(running).error());
  out.running = std::move(*running);
  Past before = past.get();
  out.current = std::move(before.current);
  known.slots = std::move(before.slots);
  out.known_slots = slot_numbers(known.slots);
  TRY(look_for_syn_proxy(out, known));
  TRY_ASSIGN(known.rule_entries, most_rule_entries());
  TRY_ASSIGN(known.sets, read_known_sets(instance, out.running, out.config.sets));
  TRY_ASSIGN(known.limits, read_known_limits(instance, out.running.state.generation));
  ServiceNeeds needs;
  if (!out.config.services.empty()) {
    TRY_ASSIGN(const BackendRoutes routes, backend_routes(out.config));
    TRY_ASSIGN(known.services, known_services(instance, routes));
    TRY_ASSIGN(needs, service_needs(out.config, routes));
    out.warnings.insert(out.warnings.end(), needs.warnings.begin(), needs.warnings.end());
  }
  if (from.brings_back) recall_machine(kept->machine, known);
  TRY_ASSIGN(out.change.image, compile(out.config, known));

  const std::vector<Device> devices = list_devices();
  add_raw_hooks(out.change.image.hooks, devices, out.current ? out.current->hooks : from.brings_back ? kept->hooks : std::vector<HookImage>{});
  const Image& image = out.change.image;
  next.number = next_number(instance, out.running);
  next.generation = next.number;
  next.created = std::time(nullptr);
  next.user = who_asks();
  if (from.brings_back) {
    next.number = next.generation = kept->number;
    next.created = kept->created;
    next.user = kept->user;
    next.note = kept->note;
    next.status = kept->status;
  }
  next.machine = machine_of(known);
  next.hooks = image.hooks;
  for (HookImage& hook : next.hooks) hook.constants.clear();
  next.sets = image.sets;
  next.backends = image.backends;
  for (const BackendImage& b : image.backends)  // whom no kept revision names
    if (std::ranges::find(known.services.backends, b.id, &BackendImage::id) == known.services.backends.end()) out.reused_backends.push_back(b.id);
  next.slots = image.slots;
  next.parts = image.parts;
  next.structures = image.structures;
  next.digests = digests_of(image);
  TRY_ASSIGN(const Level level, kernel_level());
  next.code = object_digest("xdp", level) + object_digest("tc", level);

  TRY_ASSIGN(out.attachments, attachments_of(image.hooks, devices));
  for (const Attachment& a : out.attachments) next.devices[a.device.ifindex] = a.device.name;
  TRY_ASSIGN(Facts facts, facts_of(instance, out.attachments, out.running));
  facts.missing = std::move(needs.missing);
  facts.needs = next.needs = std::move(needs.keys);
  for (const Attachment& a : out.attachments) {
    const auto at = facts.devices.find(a.device.ifindex);
    const auto named = std::ranges::find(out.config.interfaces, image.hooks[a.hook].interface, &Interface::name);
    TRY(require_offload(a, at == facts.devices.end() ? nullptr : &at->second, named->xdp_at));
  }
  bool file_changed = !out.current;
  if (out.current) {
    // The newest revision of this generation holds the text that was applied last.
    uint64_t newest = out.current->number;
    for (const Revision& r : revisions.heads())
      if (r.generation == out.current->generation && r.status == RevisionStatus::confirmed) newest = std::max(newest, r.number);
    auto text = read_text(revisions.file(newest));
    file_changed = !text || *text != out.change.config;
  }
  out.plan = make_plan(image, next.digests, out.current, out.running, out.attachments, file_changed, facts, next.code);
  if (!out.plan.reload) out.host = {};  // nobody asks
  for (Setting& s : out.plan.settings) s.since = next.generation;
  if (out.plan.reload) {
    TRY_ASSIGN(auto notes, frontend_notes(out.config));
    std::ranges::move(notes, std::back_inserter(out.plan.notes));
  }
  out.change.settings = out.plan.settings;
  out.warnings.insert(out.warnings.end(), out.plan.warnings.begin(), out.plan.warnings.end());
  for (const HookImage& hook : image.hooks) {
    const bool any = std::any_of(out.attachments.begin(), out.attachments.end(), [&](const Attachment& a) { return image.hooks[a.hook].interface == hook.interface; });
    if (any || hook.raw) continue;
    Diagnostic d{fmt::format("interface {} matches no device of this machine now", hook.interface)};
    d.at = hook.at;
    d.hint = "it is attached by the next command after the device appears";
    out.warnings.push_back(std::move(d));
  }
  return out;
}

std::map<std::string, int> descriptors(const std::map<std::string, Fd>& maps) {
  std::map<std::string, int> out;
  for (const auto& [name, map] : maps) out[name] = map.get();
  return out;
}

// Tables of this size or more are taken over where they did not change, bytes; smaller ones are copied, so that what runs
// and the spare have each their own to be changed.
constexpr size_t taken_over_min = 8u << 20;

// The tables of what runs that say the same in the image.
std::map<std::string, Fd> unchanged_tables(const Instance& instance, const Prepared& prepared) {
  std::map<std::string, Fd> out;
  if (!prepared.current) return out;
  const auto& before = prepared.current->digests;
  const auto& now = prepared.change.revision.digests;
  for (const TableImage& table : prepared.change.image.tables) {
    const std::string key = "table " + table.map;
    const auto old = before.find(key);
    if (table.data.size() < taken_over_min || old == before.end() || old->second != now.at(key)) continue;
    if (auto map = open_pin(instance.generation(prepared.running.state.generation) + "/" + table.map)) out[table.map] = std::move(*map);
  }
  return out;
}

Result<Risks> risks_of(const Instance& instance, const Prepared& prepared, const Host& host, Candidate* candidate) {
  const Image& image = prepared.change.image;
  if (prepared.attachments.empty()) return Risks{};
  if (!candidate) {
    TRY_ASSIGN(const auto state, state_maps(instance, image));
    return find_risks(prepared.config, host, image, prepared.attachments, descriptors(state));
  }
  ReplayOptions options{.world = World::live};
  if (candidate->judges.hooks() == 0) {
    options.shared = candidate->programs.maps();
    std::erase_if(options.shared, [](const auto& map) { return is_scratch(map.first); });
    TRY_ASSIGN(candidate->judges, load_image(image, Replay::load_options(options)));
  }
  TRY_ASSIGN(Replay replay, Replay::over(image, options, std::move(candidate->judges)));
  auto risks = find_risks(prepared.config, host, prepared.attachments, replay);
  candidate->judges = std::move(replay).release();
  return risks;
}

}  // namespace

Result<Candidate> load_candidate(const Instance& instance, Prepared& prepared) {
  const Image& image = prepared.change.image;
  const Revision& revision = prepared.change.revision;
  TRY_ASSIGN(auto shared, shared_maps(instance, image, prepared.running.state.generation, prepared.known_slots));
  if (const auto talkers = shared.find("policy_talkers"); talkers != shared.end()) {
    std::set<uint32_t> known;
    for (uint32_t slot = 0; slot < prepared.known_slots.size(); ++slot)
      if (prepared.known_slots[slot]) known.insert(slot);
    TRY(forget_talkers(talkers->second.get(), known));
  }
  if (const auto lines = shared.find("limit_lines"); lines != shared.end()) {
    TRY_ASSIGN(const bool same, can_share_limits(lines->second.get()));
    if (!same) shared.erase(lines);
  }
  const auto with_state = [&](Candidate candidate) -> Result<Candidate> {
    TRY(take_over_limits(instance, image, prepared.running.state.generation, candidate.programs));
    TRY(start_syn_proxy(candidate.programs.map("syn_proxy")));
    TRY(fill_egress(candidate.programs));
    TRY(take_over_services(instance, prepared.running.state.generation, candidate.programs, prepared.reused_backends, prepared.config.services, image.backends));
    return candidate;
  };
  if (prepared.current) {
    TRY_ASSIGN(auto spare, take_spare(instance, {image, revision.digests, *prepared.current, revision.code}, shared, prepared.grace));
    if (spare) return with_state({std::move(spare->programs), std::move(spare->judges)});
  }
  auto taken_over = unchanged_tables(instance, prepared);
  shared.merge(taken_over);
  LoadOptions options;
  options.shared = descriptors(shared);
  TRY_ASSIGN(Loaded loaded, load_image(image, options));  // libbpf keeps duplicates of shared descriptors
  return with_state({std::move(loaded), {}});
}

Result<> judge(const Instance& instance, Prepared& prepared, Candidate* candidate) {
  if (!prepared.plan.reload) return {};
  auto passed = require_tests(prepared.config, prepared.change.image);
  if (!passed) {
    quote_source(passed.error(), prepared.config);
    return Failure(std::move(passed).error());
  }
  prepared.tests_passed = *passed;
  TRY_ASSIGN(Risks risks, risks_of(instance, prepared, prepared.host.get(), candidate));
  prepared.risks = std::move(risks.found);
  prepared.warnings.insert(prepared.warnings.end(), risks.warnings.begin(), risks.warnings.end());
  return {};
}

}  // namespace penstock
