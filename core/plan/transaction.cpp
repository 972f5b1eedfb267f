#include "core/plan/transaction.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "core/kernel/bpf.h"
#include "core/plan/spare.h"
#include "core/plan/totals.h"

namespace penstock {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

constexpr uint32_t first_counter_slots = 4096;

// What programs count, one lane of 64-bit words for each CPU and the last one for user space: generations share such a
// map until it has to grow, and then its sums are carried over.
constexpr const char* laned_maps[] = {"counters", "set_hits"};

// State in lines of its own, which a later generation may need more of: it shares the map of the one before unless that is too small.
constexpr const char* grown_maps[] = {"limit_lines"};

std::string hook_pin(const Instance& instance, uint64_t generation, size_t hook) {
  return fmt::format("{}/hook-{}", instance.generation(generation), hook);
}

// The program at the tc ingress behind it, where there is one.
std::string behind_pin(const Instance& instance, uint64_t generation, size_t hook) { return hook_pin(instance, generation, hook) + "-behind"; }

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

void sleep_until(uint64_t coarse) {
  for (uint64_t now = coarse_now(); now < coarse; now = coarse_now()) std::this_thread::sleep_for(std::chrono::nanoseconds(coarse - now));
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
    const auto behind = std::ranges::find(running.tc_links, link.info.ifindex, [](const TcLink& l) { return l.info.ifindex; });
    if (behind == running.tc_links.end()) continue;
    TRY_ASSIGN(Fd tc, program_by_id(behind->info.program));
    out.wanted.back().tc = tc.get();
    out.descriptors.push_back(std::move(tc));
  }
  return out;
}

Result<Programs> programs_of(const Instance& instance, uint64_t generation) {
  Programs out;
  if (generation == 0) return out;
  auto revision = Revisions(instance).head(generation);
  if (!revision) return programs_of_links(instance, std::move(revision).error());
  TRY_ASSIGN(const auto attachments, attachments_of(revision->hooks, list_devices()));
  for (size_t i = 0; i < revision->hooks.size(); ++i) {
    auto program = open_pin(hook_pin(instance, generation, i));
    if (!program) return programs_of_links(instance, std::move(program).error());
    out.descriptors.push_back(std::move(*program));
  }
  std::map<size_t, int> behind;
  for (size_t i = 0; i < revision->hooks.size(); ++i) {
    if (revision->hooks[i].behind.empty()) continue;
    auto program = open_pin(behind_pin(instance, generation, i));
    if (!program) return programs_of_links(instance, std::move(program).error());
    behind[i] = program->get();
    out.descriptors.push_back(std::move(*program));
  }
  for (const Attachment& a : attachments) {
    const auto tc = behind.find(a.hook);
    out.wanted.push_back({a.device, out.descriptors[a.hook].get(), a.mode, tc == behind.end() ? -1 : tc->second});
  }
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

Result<std::map<std::string, Fd>> shared_maps(const Instance& instance, const Image& image, uint64_t from, const std::vector<bool>& known) {
  std::map<std::string, Fd> out;
  uint32_t slots = first_counter_slots;
  while (slots < image.slot_end) slots *= 2;
  const Revisions revisions(instance);
  if (from != 0 && revisions.head(from)) {  // without its revision nobody knows what its slots mean
    if (auto counters = open_pin(instance.generation(from) + "/counters")) {
      TRY_ASSIGN(const bpf_map_info info, map_info(counters->get()));
      if (info.max_entries / counter_lanes() >= image.slot_end) out["counters"] = std::move(*counters);
    }
  }
  if (!out.contains("counters")) {
    TRY_ASSIGN(out["counters"], create_map({BPF_MAP_TYPE_ARRAY, "counters", 4, sizeof(ps_counter), slots * counter_lanes(), BPF_F_MMAPABLE}));
  }
  TRY(clear_new_slots(out["counters"].get(), image.slots, known));
  if (const auto wanted = image.sizes.find("set_hits"); from != 0 && wanted != image.sizes.end()) {
    if (auto hits = open_pin(instance.generation(from) + "/set_hits")) {
      TRY_ASSIGN(const bpf_map_info info, map_info(hits->get()));
      if (info.max_entries == wanted->second) out["set_hits"] = std::move(*hits);
    }
  }
  for (const char* name : grown_maps) {
    const auto wanted = image.sizes.find(name);
    if (from == 0 || wanted == image.sizes.end() || wanted->second == 0) continue;
    if (auto map = open_pin(instance.generation(from) + "/" + name)) {
      TRY_ASSIGN(const bpf_map_info info, map_info(map->get()));
      if (info.max_entries == wanted->second) out[name] = std::move(*map);
    }
  }
  TRY_ASSIGN(auto state, state_maps(instance, image));
  out.merge(state);
  return out;
}

Result<std::map<std::string, Fd>> state_maps(const Instance& instance, const Image& image) {
  std::map<std::string, Fd> out;
  std::error_code error;
  for (fs::directory_iterator it(instance.pins("shared"), error), end; !error && it != end; it.increment(error)) {
    TRY_ASSIGN(Fd map, open_pin(it->path()));
    const std::string name = it->path().filename();
    // Tables and scratch memory never belong here, but earlier versions may have put them.
    if (is_scratch(name) || std::ranges::find(image.tables, name, &TableImage::map) != image.tables.end()) continue;
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
Result<> pin_generation(const Instance& instance, const Change& change, const Candidate& candidate) {
  const Loaded& loaded = candidate.programs;
  if (!loaded.standing.empty()) return promote_spare(instance, change.revision.generation);
  const std::string directory = instance.generation(change.revision.generation);
  TRY(make_directories(directory));
  for (size_t i = 0; i < loaded.hooks(); ++i) TRY(pin(loaded.program(i), hook_pin(instance, change.revision.generation, i)));
  for (size_t i = 0; i < candidate.judges.hooks(); ++i) TRY(pin(candidate.judges.program(i), fmt::format("{}/judge-{}", directory, i)));
  for (const auto& [hook, object] : loaded.behind) TRY(pin(object.program("penstock_tc"), behind_pin(instance, change.revision.generation, hook)));
  if (loaded.hooks() == 0) return {};
  std::set<std::string> tables(std::begin(laned_maps), std::end(laned_maps));
  tables.insert(std::begin(grown_maps), std::end(grown_maps));
  for (const TableImage& table : change.image.tables) tables.insert(table.map);
  TRY(make_directories(instance.pins("shared")));
  for (const auto& [name, map] : loaded.maps()) {
    if (tables.contains(name)) {
      TRY(pin(map, directory + "/" + name));
    } else if (!is_scratch(name) && !fs::exists(instance.pins("shared/" + name))) {
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
  std::vector<Wanted> devices = to.wanted;
  for (const Wanted& w : from.wanted)
    if (!to.of(w.device.ifindex)) devices.push_back(w);
  const bool journeys_possible = devices.size() > 1;
  const ps_txn word{0, from_number, to_number, PS_GATE_FOREVER, journeys_possible ? PS_GATE_WINDOW : 0};
  const uint32_t zero = 0;
  TRY(map_update(gates.word.get(), &zero, &word));
  TRY_ASSIGN(const Fd journeys, create_map({BPF_MAP_TYPE_ARRAY, "journeys", 4, sizeof(ps_journey_line), journeys_possible ? PS_JOURNEY_LINES : 1u, BPF_F_MMAPABLE}));
  const uint64_t seed = std::random_device()() | uint64_t{std::random_device()()} << 32;
  if (devices.size() > PS_GATE_HOOKS) return fail(fmt::format("{} devices are more than the {} that one change can cover", devices.size(), PS_GATE_HOOKS));
  for (uint32_t i = 0; i < devices.size(); ++i) {
    for (const auto& [programs, offset] : {std::pair{&from, 0u}, std::pair{&to, 1u}}) {
      const Wanted* w = programs->of(devices[i].device.ifindex);
      const uint32_t index = 2 * i + offset;
      if (w) TRY(map_update(gates.programs.get(), &index, &w->program));
    }
    TRY_ASSIGN(Object gate, Object::open("gate", level));
    TRY(gate.constant("gate_const", bytes_of(ps_gate_const{i, !devices[i].device.ethernet, word.window, seed})));
    TRY(gate.reuse("txn", gates.word.get()));
    TRY(gate.reuse("programs", gates.programs.get()));
    TRY(gate.reuse("journeys", journeys.get()));
    TRY(gate.load());
    // What stands behind needs no gate: it does the same in all generations.  It is there before the one that needs it.
    const Wanted *before = from.of(devices[i].device.ifindex), *after = to.of(devices[i].device.ifindex);
    const int behind = after && after->tc >= 0 ? after->tc : before ? before->tc : -1;
    gates.wanted.push_back({devices[i].device, gate.program("penstock_gate"), devices[i].mode, behind});
    gates.objects.push_back(std::move(gate));
  }
  return gates;
}

// The link of the only device, where both generations run on one and the same, attached as it is: to exchange its program
// is a switch by itself.
Result<Fd> only_link(const Instance& instance, const Programs& before, const Programs& after) {
  if (before.wanted.size() != 1 || after.wanted.size() != 1) return Fd();
  const Wanted& wanted = after.wanted.front();
  if (before.wanted.front().device.ifindex != wanted.device.ifindex) return Fd();
  TRY_ASSIGN(const Running running, observe(instance));
  if (running.links.size() != 1) return Fd();
  const RunningLink& link = running.links.front();
  if (link.info.ifindex != wanted.device.ifindex || !mode_satisfies(wanted.mode, link.mode)) return Fd();
  return open_pin(link_pin(instance, link.ifindex));
}

// Without a deadline and with one device no gate is needed.  The word only says what is under way: until the link runs the
// new program the old generation judges, and from then on observe() takes the change for confirmed.
Result<std::vector<Diagnostic>> switch_link(const Instance& instance, const Fd& link, int program, uint64_t from, uint64_t to) {
  TRY_ASSIGN(const Fd word, create_map({BPF_MAP_TYPE_ARRAY, "txn", 4, sizeof(ps_txn), 1, BPF_F_MMAPABLE}));
  const ps_txn undecided{0, from, to, PS_GATE_FOREVER, 0};
  const uint32_t zero = 0;
  TRY(map_update(word.get(), &zero, &undecided));
  TRY(make_directories(instance.pins("txn")));
  TRY(pin(word.get(), instance.pins("txn/word")));
  step("word-pinned");
  TRY(update_link(link.get(), program));
  step("switched");
  return std::vector<Diagnostic>{};
}

Result<std::vector<Diagnostic>> switch_over(const Instance& instance, const Change& change, uint64_t from) {
  const uint64_t to = change.revision.generation;
  TRY_ASSIGN(const Programs before, programs_of(instance, from));
  TRY_ASSIGN(const Programs after, programs_of(instance, to));
  if (!change.confirm) {
    TRY_ASSIGN(const Fd link, only_link(instance, before, after));
    if (link) return switch_link(instance, link, after.wanted.front().program, from, to);
  }
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
  // Where journeys are followed the instant lies ahead, for the gates to write down what is on its way.
  const uint64_t start = coarse_now() + (word->window ? word->window + coarse_tick() : 0);
  const uint64_t deadline = change.confirm ? (start + static_cast<uint64_t>(change.confirm->count())) & ~PS_GATE_CLOSED : PS_GATE_FOREVER;
  step("armed");
  __atomic_store_n(&word->start, start, __ATOMIC_RELEASE);  // without a deadline it means nothing
  __atomic_store_n(&word->deadline, deadline, __ATOMIC_RELEASE);  // the only switch
  sleep_until(start);
  step("switched");
  return warnings;
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
  auto warnings = switch_over(instance, change, from);
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
