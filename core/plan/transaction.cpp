#include "core/plan/transaction.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <set>
#include <utility>

#include "core/kernel/bpf.h"
#include "core/plan/programs.h"
#include "core/plan/shared_maps.h"
#include "core/plan/spare.h"
#include "core/plan/switch.h"
#include "core/plan/totals.h"

namespace penstock {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
}

Result<Mapping> open_word(const Instance& instance) {
  TRY_ASSIGN(const Fd map, open_pin(instance.pins("txn/word")));
  return map_memory(map.get());
}

uint64_t load_deadline(const ps_txn* word) { return __atomic_load_n(&word->deadline, __ATOMIC_ACQUIRE); }

// Sets the deadline where it is still `expected`.  Returns what it is then.
uint64_t swap_deadline(ps_txn* word, uint64_t expected, uint64_t deadline) {
  return __atomic_compare_exchange_n(&word->deadline, &expected, deadline, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ? deadline : expected;
}

// As gates do: nobody can confirm from now on.  Returns the deadline, PS_GATE_FOREVER where it was confirmed.
uint64_t close_deadline(ps_txn* word) {
  const uint64_t deadline = load_deadline(word);
  return deadline == 0 || deadline & PS_GATE_CLOSED ? deadline : swap_deadline(word, deadline, deadline | PS_GATE_CLOSED);
}

// The gates stay until no packet is on its way any more that met a hook before the last instant.
void let_travellers_arrive(const Instance& instance) {
  auto memory = open_word(instance);
  if (!memory) return;  // removed by hand
  const auto* word = memory->as<ps_txn>();
  const uint64_t deadline = load_deadline(word), now = coarse_now();
  const uint64_t instant = deadline == PS_GATE_FOREVER ? word->start : deadline & ~PS_GATE_CLOSED;
  if (deadline != 0 && instant <= now + word->window) sleep_until(instant + word->window);
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

// Links run `generation` directly, without gates; settings of devices that it does not need are as they were.  A device
// that came back and cannot be attached is a warning: it must not hold up the others.
Result<std::vector<Diagnostic>> converge(const Instance& instance, uint64_t generation) {
  TRY_ASSIGN(const Programs programs, programs_of(instance, generation));
  TRY_ASSIGN(auto warnings, attach_wanted(instance, programs.wanted, AttachFailure::warning));
  const auto revision = Revisions(instance).head(generation);
  const auto needs = [&](const Setting& s) {
    if (s.kind == SettingKind::offload) return programs.of(s.ifindex) != nullptr;
    return revision && std::ranges::find(revision->needs, s.key()) != revision->needs.end();
  };
  Restored restored = restore_settings(instance, [&](const Setting& s) { return s.since <= generation && needs(s); });
  std::move(restored.failed.begin(), restored.failed.end(), std::back_inserter(warnings));
  return warnings;
}

// `retired`, which ran or was to run, may become the spare.
void drop_generations_but(const Instance& instance, uint64_t keep, uint64_t retired) {
  retire(instance, retired, keep);
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
  let_travellers_arrive(instance);
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
  drop_generations_but(instance, to, from);
  step("old-dropped");
  return warnings;
}

// switched: the candidate judged packets for a time, its revision stays in the history.
Result<std::vector<Diagnostic>> revert(const Instance& instance, uint64_t from, uint64_t to, bool switched) {
  if (switched) let_travellers_arrive(instance);
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
  drop_generations_but(instance, from, to);
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
    for (const Revision& revision : Revisions(instance).heads())
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
    bool confirmed = t.confirmed();
    if (switched && !confirmed) {
      TRY_ASSIGN(const Mapping memory, open_word(instance));
      confirmed = close_deadline(memory.as<ps_txn>()) == PS_GATE_FOREVER;
    }
    auto done = confirmed ? finish(instance, t.from, t.to) : revert(instance, t.from, t.to, switched);
    if (!done) return Failure(std::move(done).error());
    out.warnings = std::move(*done);
    out.what = confirmed ? Settled::What::finished : switched ? Settled::What::reverted : Settled::What::undone;
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
  for (const Revision& revision : Revisions(instance).heads()) {
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

namespace {

// Pins what the new generation consists of.
Result<> pin_generation(const Instance& instance, const Change& change, const Candidate& candidate) {
  const Loaded& loaded = candidate.programs;
  if (!loaded.standing.empty()) return promote_spare(instance, change.revision.generation);
  const std::string directory = instance.generation(change.revision.generation);
  TRY(make_directories(directory));
  for (size_t i = 0; i < loaded.hooks(); ++i) TRY(pin(loaded.program(i), hook_pin(directory, i)));
  for (const auto& [hook, object] : loaded.behind) TRY(pin(object.program("penstock_tc"), behind_pin(directory, hook)));
  for (size_t i = 0; i < candidate.judges.hooks(); ++i) TRY(pin(candidate.judges.program(i), judge_pin(directory, i)));
  if (loaded.hooks() == 0) return {};
  std::set<std::string> tables;
  for (const TableImage& table : change.image.tables) tables.insert(table.map);
  TRY(make_directories(instance.pins("shared")));
  for (const auto& [name, map] : loaded.maps()) {
    if (tables.contains(name) || is_generation_map(name)) {
      TRY(pin(map, directory + "/" + name));
    } else if (!is_scratch(name) && !fs::exists(instance.pins("shared/" + name))) {
      TRY(pin(map, instance.pins("shared/" + name)));  // state of a feature: outlives generations
    }
  }
  return {};
}

}  // namespace

Result<Applied> carry_out(const Instance& instance, const Change& change, const Candidate& candidate) {
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
  if (auto done = pin_generation(instance, change, candidate); !done) return undo(std::move(done).error());
  step("pinned");
  if (auto done = Revisions(instance).save(change.revision, change.config, change.set_files); !done) return undo(std::move(done).error());
  step("saved");
  if (auto done = change_settings(instance, change.settings); !done) return undo(std::move(done).error());
  // Onto the disk meanwhile: a power cut takes with it what runs, and until it is confirmed the revision is not missed.
  auto synced = std::async(std::launch::async, [&] { return Revisions(instance).sync(change.revision.number); });
  auto warnings = switch_over(instance, from, out.generation, change.confirm);
  const Result<> on_disk = synced.get();
  if (!warnings) return undo(std::move(warnings).error());
  out.warnings = std::move(*warnings);
  if (!on_disk) out.warnings.push_back(on_disk.error().diagnostics.front());
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

namespace {

// Does the kept revision say what the image is?  `apart`: but for what only names devices and tables.
bool says(const Revision& kept, const Revision& now, bool apart) {
  const auto digest = [](const Revision& r, const std::string& key) {
    const auto found = r.digests.find(key);
    return found == r.digests.end() ? std::string() : found->second;
  };
  const auto same_hook = [](const HookImage& a, const HookImage& b) {
    return a.interface == b.interface && a.match == b.match && a.mode == b.mode && a.object == b.object && a.behind == b.behind && a.raw == b.raw;
  };
  if (!std::ranges::equal(kept.hooks, now.hooks, same_hook) || digest(kept, "names") != digest(now, "names")) return false;
  return apart || (kept.generation == now.generation && kept.digests == now.digests && kept.code == now.code && kept.devices == now.devices && kept.machine == now.machine);
}

// A full disk must not leave the node open: what the kept revision says is enough where it names the same hooks and slots.
Result<> keep_brought_back(const Instance& instance, const Change& change, std::vector<Diagnostic>& warnings) {
  const Revisions revisions(instance);
  const auto kept = revisions.head(change.revision.number);
  if (kept && says(*kept, change.revision, false)) return {};
  auto saved = revisions.save(change.revision, change.config, change.set_files);
  if (saved) return revisions.sync(change.revision.number);
  if (!kept || !says(*kept, change.revision, true)) return saved;
  warnings.push_back(saved.error().diagnostics.front());
  return {};
}

}  // namespace

Result<Applied> bring_back(const Instance& instance, const Change& change, const Candidate& candidate) {
  const auto start = Clock::now();
  Applied out;
  out.generation = change.revision.generation;
  auto undo = [&](Error error) -> Result<Applied> {
    remove_tree(instance.bpf);  // nothing runs: what there is was made just now
    return Failure(std::move(error));
  };
  TRY_ASSIGN(const Mapping state, open_state(instance));
  if (state.as<NodeState>()->generation != 0) return fail(fmt::format("revision {} runs already", state.as<NodeState>()->generation));
  step("loaded");
  if (auto done = pin_generation(instance, change, candidate); !done) return undo(std::move(done).error());
  step("pinned");
  if (auto done = keep_brought_back(instance, change, out.warnings); !done) return undo(std::move(done).error());
  step("saved");
  if (auto done = change_settings(instance, change.settings); !done) out.warnings.push_back(std::move(done).error().diagnostics.front());
  state.as<NodeState>()->generation = out.generation;
  step("state-written");
  auto attached = converge(instance, out.generation);
  std::vector<Diagnostic> said = attached ? std::move(*attached) : std::move(attached).error().diagnostics;
  std::move(said.begin(), said.end(), std::back_inserter(out.warnings));
  step("brought-back");
  out.total = Clock::now() - start;
  return out;
}

Result<> record_only(const Instance& instance, const Change& change) {
  Revision revision = change.revision;
  revision.status = RevisionStatus::confirmed;
  TRY(Revisions(instance).save(revision, change.config, change.set_files));
  TRY(Revisions(instance).sync(revision.number));
  Revisions(instance).prune(20, {revision.number, revision.generation});
  return {};
}

Result<uint64_t> confirm(const Instance& instance) {
  TRY_ASSIGN(const Running running, observe(instance));
  if (!running.transaction) return fail("nothing waits to be confirmed", "see `penstock history`");
  step("confirming");
  TRY_ASSIGN(const Mapping memory, open_word(instance));
  auto* word = memory.as<ps_txn>();
  const uint64_t deadline = load_deadline(word);
  bool late = deadline != PS_GATE_FOREVER && (deadline & PS_GATE_CLOSED || coarse_now() + 2 * coarse_tick() >= deadline);
  if (!late && deadline != PS_GATE_FOREVER) {
    const uint64_t waited_for = deadline;
    late = swap_deadline(word, deadline, PS_GATE_FOREVER) != PS_GATE_FOREVER;
    // Gates of the level `basic` cannot close the deadline: held up between clock and swap, they may have gone back.
    TRY_ASSIGN(const Level level, kernel_level());
    if (!late && level == Level::basic && coarse_now() >= waited_for) {
      __atomic_store_n(&word->deadline, waited_for | PS_GATE_CLOSED, __ATOMIC_RELEASE);
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
    auto* word = memory.as<ps_txn>();
    const uint64_t ahead = word->window ? word->window + coarse_tick() : 0;
    const uint64_t planned = load_deadline(word);
    uint64_t deadline = planned;
    while (!(deadline & PS_GATE_CLOSED)) {
      const uint64_t instant = (std::max<uint64_t>(coarse_now(), word->start + word->window) + ahead) & ~PS_GATE_CLOSED;
      if (instant >= planned) break;
      deadline = swap_deadline(word, deadline, instant);
      // Held up meanwhile?  Gates must have the whole window before the instant.
      if (!word->window || coarse_now() + word->window <= instant) break;
    }
    if (deadline == PS_GATE_FOREVER) return fail(fmt::format("revision {} is confirmed already", running.transaction->to));
    sleep_until(load_deadline(word));
    close_deadline(word);
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
    std::string device;
    if (link) {
      if (auto info = link_info(link->get()); info && info->ifindex != 0) device = device_name(info->ifindex);
      if (auto done = detach_link(link->get()); !done) failed.diagnostics.push_back(done.error().diagnostics.front());
    }
    const std::string pin_name = it->path().filename();
    if (device.empty()) device = Revisions(instance).device(static_cast<uint32_t>(std::strtoul(pin_name.c_str() + pin_name.find('-') + 1, nullptr, 10)));
    if (device.empty()) device = pin_name;
    if (unlink(path.c_str()) < 0) failed.diagnostics.push_back(Diagnostic{fmt::format("cannot remove {}", path)});
    removed.push_back((pin_name.starts_with("tc-") ? "detached from the tc ingress of " : "detached from ") + device);
    step("detached " + device);
  }
  Restored settings = restore_settings(instance, [](const Setting&) { return false; });
  std::move(settings.done.begin(), settings.done.end(), std::back_inserter(removed));
  if (!failed.diagnostics.empty()) return Failure(std::move(failed));
  const bool more = fs::exists(instance.bpf, error);
  fs::remove_all(instance.bpf, error);
  if (error) return fail(fmt::format("cannot remove {}: {}", instance.bpf, error.message()));
  if (more) removed.push_back("removed " + instance.bpf);
  rmdir(fs::path(instance.bpf).parent_path().c_str());  // fails where other instances are
  if (!settings.failed.empty()) {
    failed.diagnostics = std::move(settings.failed);
    return Failure(std::move(failed));
  }
  return removed;
}

}  // namespace penstock
