#include "core/plan/transaction.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "core/kernel/bpf.h"
#include "core/plan/totals.h"

namespace penstock {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

constexpr uint32_t first_counter_slots = 4096;

// What programs count, one lane of 64-bit words for each CPU and the last one for user space: generations share such a
// map until it has to grow, and then its sums are carried over.
constexpr const char* laned_maps[] = {"counters", "set_hits"};

std::string hook_pin(const Instance& instance, uint64_t generation, size_t hook) {
  return fmt::format("{}/hook-{}", instance.generation(generation), hook);
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
}

Result<Mapping> open_word(const Instance& instance) {
  TRY_ASSIGN(const Fd map, open_pin(instance.pins("txn/word")));
  return map_memory(map.get());
}

Result<Mapping> open_state(const Instance& instance) {
  TRY(make_directories(instance.bpf));
  const std::string path = instance.pins("state");
  if (!fs::exists(path)) {
    TRY_ASSIGN(const Fd map, create_map({BPF_MAP_TYPE_ARRAY, "state", 4, sizeof(NodeState), 1, BPF_F_MMAPABLE}));
    NodeState fresh;
    fresh.network = own_network();
    const uint32_t zero = 0;
    TRY(map_update(map.get(), &zero, &fresh));
    TRY(pin(map.get(), path));
    return map_memory(map.get());
  }
  TRY_ASSIGN(const Fd map, open_pin(path));
  return map_memory(map.get());
}

// The programs of a generation by device, as the devices are now.
struct Programs {
  std::vector<Fd> descriptors;
  std::vector<Wanted> wanted;
  const Wanted* of(uint32_t ifindex) const {
    const auto found = std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& w) { return w.device.ifindex == ifindex; });
    return found == wanted.end() ? nullptr : &*found;
  }
};

// Where a pin or the revision was removed by hand: what the links run, as it is.
Result<Programs> programs_of_links(const Instance& instance, Error why) {
  Programs out;
  TRY_ASSIGN(const Running running, observe(instance));
  for (const RunningLink& link : running.links) {
    if (link.info.ifindex == 0) continue;
    auto program = program_by_id(link.info.program);
    auto info = program ? program_info(program->get()) : Result<bpf_prog_info>(Failure(program.error()));
    if (!info || std::string(info->name) == "penstock_gate") {  // what it chooses from is not told by the link
      why.diagnostics.front().hint = "say `penstock off`, then apply the file again";
      return Failure(std::move(why));
    }
    out.wanted.push_back({{link.info.ifindex, link.device}, program->get(), attach_name(link.mode)});
    out.descriptors.push_back(std::move(*program));
  }
  return out;
}

Result<Programs> programs_of(const Instance& instance, uint64_t generation) {
  Programs out;
  if (generation == 0) return out;
  auto revision = Revisions(instance).read(generation);
  if (!revision) return programs_of_links(instance, std::move(revision).error());
  TRY_ASSIGN(const auto attachments, attachments_of(revision->hooks, list_devices()));
  for (size_t i = 0; i < revision->hooks.size(); ++i) {
    auto program = open_pin(hook_pin(instance, generation, i));
    if (!program) return programs_of_links(instance, std::move(program).error());
    out.descriptors.push_back(std::move(*program));
  }
  for (const Attachment& a : attachments) out.wanted.push_back({a.device, out.descriptors[a.hook].get(), a.mode});
  return out;
}

// Links run `generation` directly, without gates; settings of devices that it does not need are as they were.  A device
// that came back and cannot be attached is a warning: it must not hold up the others.
Result<std::vector<Diagnostic>> converge(const Instance& instance, uint64_t generation) {
  TRY_ASSIGN(const Programs programs, programs_of(instance, generation));
  TRY_ASSIGN(auto warnings, attach_wanted(instance, programs.wanted, AttachFailure::warning));
  Restored restored = restore_settings(instance, [&](const Setting& s) { return s.since <= generation && programs.of(s.ifindex); });
  std::move(restored.failed.begin(), restored.failed.end(), std::back_inserter(warnings));
  return warnings;
}

void drop_generations_but(const Instance& instance, uint64_t keep) {
  auto running = observe(instance);
  if (!running) return;
  for (const uint64_t generation : running->generations)
    if (generation != keep) remove_tree(instance.generation(generation));
}

// The programs array goes first: while `word` is there, settle() knows what to do.
void drop_transaction(const Instance& instance) {
  unlink(instance.pins("txn/programs").c_str());
  step("txn-programs-dropped");
  unlink(instance.pins("txn/word").c_str());
  rmdir(instance.pins("txn").c_str());
}

// The status of a revision is a note for the history: a full disk must not keep a change half finished.
void note_status(const Instance& instance, uint64_t number, RevisionStatus status, std::vector<Diagnostic>& warnings) {
  if (auto done = Revisions(instance).set_status(number, status); !done)
    warnings.push_back(std::move(done).error().diagnostics.front());
}

Result<std::vector<Diagnostic>> finish(const Instance& instance, uint64_t from, uint64_t to) {
  TRY_ASSIGN(auto warnings, converge(instance, to));
  step("gates-replaced");
  for (const char* name : laned_maps) TRY(carry_counters(instance, from, to, name));
  TRY_ASSIGN(const Mapping state, open_state(instance));
  state.as<NodeState>()->generation = to;
  step("state-written");
  note_status(instance, to, RevisionStatus::confirmed, warnings);
  step("status-written");
  drop_transaction(instance);
  step("txn-dropped");
  drop_generations_but(instance, to);
  step("old-dropped");
  return warnings;
}

// switched: the candidate judged packets for a time, its revision stays in the history.
Result<std::vector<Diagnostic>> revert(const Instance& instance, uint64_t from, uint64_t to, bool switched) {
  TRY_ASSIGN(auto warnings, converge(instance, from));
  step("reverted-links");
  if (switched) {
    for (const char* name : laned_maps) TRY(return_counters(instance, from, to, name));
    note_status(instance, to, RevisionStatus::reverted, warnings);
  } else {
    remove_tree(Revisions(instance).directory(to));
  }
  step("reverted-status");
  drop_transaction(instance);
  drop_generations_but(instance, from);
  step("reverted");
  return warnings;
}

Result<> check_network(const Instance& instance, const Running& running) {
  if (!running.present || running.state.network == 0 || running.state.network == own_network()) return {};
  const bool alive = std::any_of(running.links.begin(), running.links.end(), [](const RunningLink& l) { return l.info.ifindex != 0; });
  if (alive)
    return fail(fmt::format("instance {} belongs to another network namespace", instance.name),
                "run penstock there, or keep a second instance here with --instance NAME");
  // That namespace is gone with its devices: what is left of it means nothing here.
  remove_tree(instance.bpf);
  forget_settings(instance);
  return {};
}

}  // namespace

uint64_t next_number(const Instance& instance, const Running& running) {
  uint64_t highest = running.state.generation;
  for (const uint64_t n : running.generations) highest = std::max(highest, n);
  for (const uint64_t n : Revisions(instance).numbers()) highest = std::max(highest, n);
  return highest + 1;
}

Result<Settled> settle(const Instance& instance) {
  Settled out;
  {
    TRY_ASSIGN(const Running before, observe(instance));
    TRY(check_network(instance, before));
  }
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.present) {  // `off`, a reboot or a namespace that is gone took what waited with it
    remove_tree(instance.bpf);
    out.warnings = restore_settings(instance, [](const Setting&) { return false; }).failed;
    for (const Revision& revision : Revisions(instance).all())
      if (revision.status == RevisionStatus::candidate) note_status(instance, revision.number, RevisionStatus::reverted, out.warnings);
    return out;
  }
  if (running.transaction) {
    const Transaction& t = *running.transaction;
    out.from = t.from;
    out.to = t.to;
    const uint64_t now = coarse_now();
    if (t.waiting(now)) return out;
    const bool switched = t.deadline != 0;
    auto done = t.confirmed() ? finish(instance, t.from, t.to) : revert(instance, t.from, t.to, switched);
    if (!done) return Failure(std::move(done).error());
    out.warnings = std::move(*done);
    out.what = t.confirmed() ? Settled::What::finished : switched ? Settled::What::reverted : Settled::What::undone;
    return out;
  }
  if (!fs::exists(instance.pins("state"))) {  // removed by hand: the links have told what runs
    TRY_ASSIGN(const Mapping state, open_state(instance));
    state.as<NodeState>()->generation = running.state.generation;
  }
  remove_tree(instance.pins("txn"));  // an array without its word: cut off before it meant anything
  for (const uint64_t generation : running.generations) {
    if (generation == running.state.generation) continue;
    remove_tree(instance.generation(generation));
    out.what = Settled::What::undone;
    out.to = generation;
  }
  for (const Revision& revision : Revisions(instance).all()) {
    if (revision.status != RevisionStatus::candidate) continue;
    if (revision.generation == running.state.generation) {
      note_status(instance, revision.number, RevisionStatus::confirmed, out.warnings);
    } else {
      remove_tree(Revisions(instance).directory(revision.number));
    }
  }
  if (running.state.generation != 0) {
    auto healed = converge(instance, running.state.generation);
    // A device that cannot be re-attached must not keep other commands from working.
    std::vector<Diagnostic> said = healed ? std::move(*healed) : std::move(healed).error().diagnostics;
    std::move(said.begin(), said.end(), std::back_inserter(out.warnings));
  } else {
    auto failed = restore_settings(instance, [](const Setting&) { return false; }).failed;
    std::move(failed.begin(), failed.end(), std::back_inserter(out.warnings));
  }
  return out;
}

Result<std::map<std::string, Fd>> shared_maps(const Instance& instance, const Image& image, uint64_t from) {
  std::map<std::string, Fd> out;
  uint32_t slots = first_counter_slots;
  while (slots < image.slot_end) slots *= 2;
  const Revisions revisions(instance);
  if (from != 0 && revisions.read(from)) {  // without its revision nobody knows what its slots mean
    if (auto counters = open_pin(instance.generation(from) + "/counters")) {
      TRY_ASSIGN(const bpf_map_info info, map_info(counters->get()));
      if (info.max_entries / counter_lanes() >= image.slot_end) out["counters"] = std::move(*counters);
    }
  }
  if (!out.contains("counters")) {
    TRY_ASSIGN(out["counters"], create_map({BPF_MAP_TYPE_ARRAY, "counters", 4, sizeof(ps_counter), slots * counter_lanes(), BPF_F_MMAPABLE}));
  }
  TRY(clear_new_slots(out["counters"].get(), image.slots, revisions.known_slots()));
  if (const auto wanted = image.sizes.find("set_hits"); from != 0 && wanted != image.sizes.end()) {
    if (auto hits = open_pin(instance.generation(from) + "/set_hits")) {
      TRY_ASSIGN(const bpf_map_info info, map_info(hits->get()));
      if (info.max_entries == wanted->second) out["set_hits"] = std::move(*hits);
    }
  }
  std::error_code error;
  for (fs::directory_iterator it(instance.pins("shared"), error), end; !error && it != end; it.increment(error)) {
    TRY_ASSIGN(Fd map, open_pin(it->path()));
    const std::string name = it->path().filename();
    if (const auto wanted = image.sizes.find(name); wanted != image.sizes.end() && wanted->second != 0) {
      TRY_ASSIGN(const bpf_map_info info, map_info(map.get()));
      if (info.max_entries != wanted->second)
        return fail(fmt::format("the map {} has {} entries, not {}: another version of penstock made it", it->path().string(), info.max_entries, wanted->second),
                    "`penstock off`, then apply: what is saved on disk comes back");
    }
    out[name] = std::move(map);
  }
  return out;
}

namespace {

// Pins what the new generation consists of.
Result<> pin_generation(const Instance& instance, const Change& change, const Loaded& loaded) {
  const std::string directory = instance.generation(change.revision.generation);
  TRY(make_directories(directory));
  for (size_t i = 0; i < loaded.objects.size(); ++i) TRY(pin(loaded.program(i), fmt::format("{}/hook-{}", directory, i)));
  if (loaded.objects.empty()) return {};
  std::set<std::string> tables(std::begin(laned_maps), std::end(laned_maps));
  for (const TableImage& table : change.image.tables) tables.insert(table.map);
  TRY(make_directories(instance.pins("shared")));
  for (const auto& [name, map] : loaded.objects.front().maps()) {
    if (tables.contains(name)) {
      TRY(pin(map, directory + "/" + name));
    } else if (name != "scratch" && name != "trace" && name != "replay" && !fs::exists(instance.pins("shared/" + name))) {
      TRY(pin(map, instance.pins("shared/" + name)));  // state of a feature: outlives generations
    }
  }
  return {};
}

// The gates of all devices that either generation attaches to, all reading one word that says "the old one".
struct Gates {
  std::vector<Object> objects;
  std::vector<Wanted> wanted;
  Fd word, programs;
};

Result<Gates> load_gates(const Programs& from, const Programs& to, uint64_t from_number, uint64_t to_number) {
  Gates gates;
  TRY_ASSIGN(const Level level, kernel_level());
  TRY_ASSIGN(gates.programs, create_map({BPF_MAP_TYPE_PROG_ARRAY, "programs", 4, 4, 2 * PS_GATE_HOOKS, 0}));
  TRY_ASSIGN(gates.word, create_map({BPF_MAP_TYPE_ARRAY, "txn", 4, sizeof(ps_txn), 1, BPF_F_MMAPABLE}));
  const ps_txn word{0, from_number, to_number, 0};
  const uint32_t zero = 0;
  TRY(map_update(gates.word.get(), &zero, &word));
  std::vector<Wanted> devices = to.wanted;
  for (const Wanted& w : from.wanted)
    if (!to.of(w.device.ifindex)) devices.push_back(w);
  if (devices.size() > PS_GATE_HOOKS) return fail(fmt::format("{} devices are more than the {} that one change can cover", devices.size(), PS_GATE_HOOKS));
  for (uint32_t i = 0; i < devices.size(); ++i) {
    for (const auto& [programs, offset] : {std::pair{&from, 0u}, std::pair{&to, 1u}}) {
      const Wanted* w = programs->of(devices[i].device.ifindex);
      const uint32_t index = 2 * i + offset;
      if (w) TRY(map_update(gates.programs.get(), &index, &w->program));
    }
    TRY_ASSIGN(Object gate, Object::open("gate", level));
    TRY(gate.constant("gate_const", bytes_of(ps_gate_const{i})));
    TRY(gate.reuse("txn", gates.word.get()));
    TRY(gate.reuse("programs", gates.programs.get()));
    TRY(gate.load());
    gates.wanted.push_back({devices[i].device, gate.program("penstock_gate"), devices[i].mode});
    gates.objects.push_back(std::move(gate));
  }
  return gates;
}

Result<std::vector<Diagnostic>> switch_over(const Instance& instance, const Change& change, uint64_t from) {
  const uint64_t to = change.revision.generation;
  TRY_ASSIGN(const Programs before, programs_of(instance, from));
  TRY_ASSIGN(const Programs after, programs_of(instance, to));
  TRY_ASSIGN(const Gates gates, load_gates(before, after, from, to));
  step("gates-loaded");
  TRY(make_directories(instance.pins("txn")));
  TRY(pin(gates.programs.get(), instance.pins("txn/programs")));
  step("programs-pinned");
  TRY(pin(gates.word.get(), instance.pins("txn/word")));
  step("word-pinned");
  TRY_ASSIGN(auto warnings, attach_wanted(instance, gates.wanted));
  step("gated");
  TRY_ASSIGN(const Mapping memory, map_memory(gates.word.get()));
  auto* word = memory.as<ps_txn>();
  word->armed_at = coarse_now();
  step("armed");
  const uint64_t deadline = change.confirm ? word->armed_at + static_cast<uint64_t>(change.confirm->count()) : PS_GATE_FOREVER;
  __atomic_store_n(&word->deadline, deadline, __ATOMIC_RELEASE);  // the only switch
  step("switched");
  return warnings;
}

}  // namespace

Result<Applied> carry_out(const Instance& instance, const Change& change, const Loaded& loaded) {
  const auto start = Clock::now();
  Applied out;
  out.generation = change.revision.generation;
  uint64_t from = 0;
  {
    TRY_ASSIGN(const Mapping state, open_state(instance));
    from = state.as<NodeState>()->generation;
  }
  step("loaded");
  auto undo = [&](Error error) -> Result<Applied> {
    if (auto back = revert(instance, from, out.generation, false); !back)
      error.diagnostics.insert(error.diagnostics.end(), back.error().diagnostics.begin(), back.error().diagnostics.end());
    return Failure(std::move(error));
  };
  if (auto done = pin_generation(instance, change, loaded); !done) return undo(std::move(done).error());
  step("pinned");
  if (auto done = Revisions(instance).save(change.revision, change.config, change.set_files); !done) return undo(std::move(done).error());
  step("saved");
  if (auto done = change_settings(instance, change.settings); !done) return undo(std::move(done).error());
  auto warnings = switch_over(instance, change, from);
  if (!warnings) return undo(std::move(warnings).error());
  out.warnings = std::move(*warnings);
  if (change.confirm) {
    out.waiting = true;
  } else {
    // The change is active: what keeps it from being finished is a warning, and the next command tries again.
    auto more = finish(instance, from, out.generation);
    std::vector<Diagnostic> said = more ? std::move(*more) : std::move(more).error().diagnostics;
    std::move(said.begin(), said.end(), std::back_inserter(out.warnings));
    Revisions(instance).prune(20, {out.generation});
  }
  out.total = Clock::now() - start;
  return out;
}

Result<> record_only(const Instance& instance, const Change& change) {
  Revision revision = change.revision;
  revision.status = RevisionStatus::confirmed;
  TRY(Revisions(instance).save(revision, change.config, change.set_files));
  Revisions(instance).prune(20, {revision.number, revision.generation});
  return {};
}

Result<uint64_t> confirm(const Instance& instance) {
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.transaction) return fail("nothing waits to be confirmed", "see `penstock history`");
  step("confirming");
  TRY_ASSIGN(const Mapping memory, open_word(instance));
  auto* word = memory.as<ps_txn>();
  uint64_t deadline = __atomic_load_n(&word->deadline, __ATOMIC_ACQUIRE);
  const uint64_t margin = 2 * coarse_tick();
  bool late = deadline != PS_GATE_FOREVER && coarse_now() + margin >= deadline;
  if (!late && deadline != PS_GATE_FOREVER) {
    const uint64_t waited_for = deadline;
    const bool swapped = __atomic_compare_exchange_n(&word->deadline, &deadline, PS_GATE_FOREVER, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    // Held up between the look at the clock and the swap?  Then gates may have gone back already: stay there.
    if (swapped && coarse_now() >= waited_for) {
      __atomic_store_n(&word->deadline, waited_for, __ATOMIC_RELEASE);
      late = true;
    } else if (!swapped && deadline != PS_GATE_FOREVER) {
      late = true;
    }
  }
  if (late) {
    Diagnostic d{fmt::format("too late: revision {} reached its deadline, {} runs", running.transaction->to,
                             running.transaction->from ? fmt::format("revision {}", running.transaction->from) : "nothing")};
    d.hint = "apply it again, with a longer --confirm";
    return fail(std::move(d), Exit::reverted);
  }
  step("confirmed");
  TRY(finish(instance, running.transaction->from, running.transaction->to));
  Revisions(instance).prune(20, {running.transaction->to});
  return running.transaction->to;
}

Result<uint64_t> take_back(const Instance& instance) {
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.transaction) return fail("nothing waits to be confirmed");
  {
    TRY_ASSIGN(const Mapping memory, open_word(instance));
    __atomic_store_n(&memory.as<ps_txn>()->deadline, PS_GATE_TAKEN_BACK, __ATOMIC_RELEASE);
  }
  step("taken-back");
  TRY(revert(instance, running.transaction->from, running.transaction->to, true));
  return running.transaction->from;
}

Result<std::vector<std::string>> remove_all(const Instance& instance) {
  std::vector<std::string> removed;
  std::error_code error;
  Error failed;
  for (fs::directory_iterator it(instance.pins("links"), error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path();
    auto link = open_pin(path);
    std::string device = it->path().filename();
    if (link) {
      if (auto info = link_info(link->get()); info && info->ifindex != 0) {
        if (const std::string name = device_name(info->ifindex); !name.empty()) device = name;
      }
      if (auto done = detach_link(link->get()); !done) failed.diagnostics.push_back(done.error().diagnostics.front());
    }
    if (unlink(path.c_str()) < 0) failed.diagnostics.push_back(Diagnostic{fmt::format("cannot remove {}", path)});
    removed.push_back("detached from " + device);
    step("detached " + device);
  }
  Restored settings = restore_settings(instance, [](const Setting&) { return false; });
  std::move(settings.done.begin(), settings.done.end(), std::back_inserter(removed));
  if (!failed.diagnostics.empty()) return Failure(std::move(failed));
  const bool more = fs::exists(instance.bpf, error);
  fs::remove_all(instance.bpf, error);
  if (error) return fail(fmt::format("cannot remove {}: {}", instance.bpf, error.message()));
  if (more) removed.push_back("removed " + instance.bpf);
  if (!settings.failed.empty()) {
    failed.diagnostics = std::move(settings.failed);
    return Failure(std::move(failed));
  }
  return removed;
}

}  // namespace penstock
