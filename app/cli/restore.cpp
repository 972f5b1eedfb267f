// penstock restore
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "app/cli/change.h"
#include "core/base/diagnostic.h"
#include "features/sets/elements.h"

namespace penstock {
namespace {

// Does the kernel's command line ask for a boot without programs?  The last word of that name decides.
bool disabled_at_boot() {
  std::ifstream file("/proc/cmdline");
  std::istringstream words(std::string(std::istreambuf_iterator<char>(file), {}));
  bool disabled = false;
  for (std::string word; words >> word;) {
    if (word == "penstock.disable") disabled = true;
    if (!word.starts_with("penstock.disable=")) continue;
    const std::string value = word.substr(word.find('=') + 1);
    disabled = value != "0" && value != "no" && value != "off" && value != "false";
  }
  return disabled;
}

// What there is to say, for people at once and for programs in the end.
struct Said {
  const Invocation& in;
  Json warnings = Json::array();
  bool any = false;
  void warn(const Diagnostic& d) {
    in.out.warn(d);
    warnings.push_back(diagnostic_json(d));
    any = true;
  }
};

// Loads what the revision kept and lets it judge.  `said`: what could not be done though it judges.
Result<Applied> restore_revision(const Instance& instance, uint64_t number, Said& said) {
  TRY_ASSIGN(Prepared prepared, prepare_kept(instance, number));
  const auto located = [&](Result<> done) {
    if (!done) quote_source(done.error(), prepared.config);
    return done;
  };
  auto candidate = load_candidate(instance, prepared);
  if (!candidate) {
    quote_source(candidate.error(), prepared.config);
    return Failure(std::move(candidate).error());
  }
  TRY(located(restore_elements(instance, prepared.change.image, number, candidate->programs)));
  for (const Diagnostic& d : bans_lost(restore_bans(instance, prepared.change.image.slots, candidate->programs))) said.warn(d);
  TRY_ASSIGN(Applied applied, bring_back(instance, prepared.change, *candidate));
  // A device that is not there yet is nothing to worry about.
  for (const Diagnostic& d : prepared.warnings) said.in.out.warn(d);
  for (const Diagnostic& d : applied.warnings) said.warn(d);
  return applied;
}

int restore(const Invocation& in) {
  const auto start = std::chrono::steady_clock::now();
  if (disabled_at_boot()) {
    in.out.print("nothing is restored: the kernel's command line says penstock.disable; `penstock rollback` and `penstock apply` work as ever\n");
    in.out.json({{"revision", 0}, {"outcome", "disabled"}, {"warnings", Json::array()}});
    return 0;
  }
  auto turn = take_turn(in, std::chrono::minutes(1));
  if (!turn) return in.out.fail(turn.error());
  const auto running = observe(turn->instance);
  if (!running) return in.out.fail(running.error());
  Said said{in};
  const auto told = [&](uint64_t revision, const char* outcome, Exit exit) {
    in.out.json({{"revision", revision}, {"outcome", outcome}, {"warnings", std::move(said.warnings)}});
    return static_cast<int>(exit);
  };
  if (const uint64_t active = running->active(coarse_now()); running->transaction || active != 0) {
    in.out.print(fmt::format("nothing to restore: {} runs\n", active ? fmt::format("revision {}", active) : "a change"));
    return told(active, "runs", Exit::done);
  }
  const Revisions revisions(turn->instance);
  std::vector<uint64_t> confirmed = revisions.numbers();
  std::erase_if(confirmed, [&](uint64_t number) { return revisions.status(number) != RevisionStatus::confirmed; });
  if (confirmed.empty()) {
    in.out.print("nothing to restore: no revision was confirmed yet\n");
    return told(0, "nothing", Exit::done);
  }
  Error failed;
  for (auto number = confirmed.rbegin(); number != confirmed.rend(); ++number) {
    const auto applied = restore_revision(turn->instance, *number, said);
    if (!applied) {
      for (const Diagnostic& d : applied.error().diagnostics) failed.diagnostics.push_back(d);
      for (const Diagnostic& d : applied.error().diagnostics) said.warn(d);
      continue;
    }
    if (*number != confirmed.back()) said.warn(Diagnostic{.message = fmt::format("degraded: revision {} cannot be loaded, revision {} runs", confirmed.back(), *number), .hint = "mend its file and apply it"});
    in.out.print(fmt::format("revision {} is restored ({})\n", *number, elapsed_text(std::chrono::steady_clock::now() - start)));
    return told(*number, said.any ? "degraded" : "restored", said.any ? Exit::degraded : Exit::done);
  }
  failed.diagnostics.push_back(Diagnostic{.message = "no confirmed revision can be loaded: nothing of penstock runs", .hint = "every packet passes; `penstock apply FILE`"});
  if (in.out.is_json()) return in.out.fail(failed);
  return in.out.fail(Error(failed.diagnostics.back()));
}

// The interface of the generation that judges, by name, that has a program for the device.
Result<std::string> claimed_by(const Instance& instance, const std::string& device) {
  TRY_ASSIGN(const Running running, observe(instance));
  const uint64_t active = running.active(coarse_now());
  if (active == 0) return std::string();
  TRY_ASSIGN(const Revision revision, Revisions(instance).head(active));
  for (const HookImage& hook : revision.hooks)
    if (claims(hook, {0, device})) return hook.interface;
  return std::string();
}

// A device that has appeared: what runs is attached to it, as every changing command does.
int attach(const Invocation& in, const std::string& device) {
  const auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  const auto interface = claimed_by(*instance, device);
  if (!interface) return in.out.fail(interface.error());
  if (interface->empty()) {
    in.out.print(fmt::format("no interface that runs matches {}\n", device));
    in.out.json({{"device", device}, {"attached", false}});
    return 0;
  }
  for (;;) {
    {
      const auto turn = take_turn(in, std::chrono::minutes(1));
      if (!turn) return in.out.fail(turn.error());
      const auto running = observe(turn->instance);
      if (!running) return in.out.fail(running.error());
      const bool attached = std::ranges::any_of(running->links, [&](const RunningLink& l) { return l.info.ifindex != 0 && l.device == device; });
      if (attached || !running->transaction || !running->transaction->waiting(coarse_now())) {
        in.out.json({{"device", device}, {"attached", attached}});
        if (!attached) return static_cast<int>(Exit::failed);  // settling has said why, or the device is gone again
        in.out.print(fmt::format("{} is judged as {}\n", device, *interface));
        return 0;
      }
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));  // a change waits to be confirmed: its gates are on the devices that it found
  }
}

int run(const Invocation& in) {
  const auto device = in.option("--interface");
  return device ? attach(in, *device) : restore(in);
}

}  // namespace

const Command command_restore = {
    .name = "restore",
    .summary = "bring back what ran before a reboot",
    .description =
        "Loads the last confirmed revision from the copies that were kept: never an edit of the file that was not applied, nor a change that waited to be confirmed "
        "when the machine went down. Where it cannot be loaded the one before is, and so on; the errors say where in which file, and the exit code is that of "
        "a degraded node. Run-time elements of sets and bans come back with what is left of their time. A device that cannot be attached to does not keep "
        "the others from being judged. Where something runs nothing is done. The file's tests and the look for risks were made when it was applied.\n\n"
        "With --interface: attaches what runs to a device that has appeared; nothing is done where no interface matches it.\n\n"
        "With penstock.disable=1 on the kernel's command line nothing is restored. `penstock off` lasts until the next boot: disable "
        "penstock-restore.service for longer.",
    .options = {{.name = "--interface", .metavar = "DEVICE", .description = "attach to this device, which has appeared", .kind = Kind::device}},
    .examples = {{"penstock restore", "what penstock-restore.service does at boot"}, {"penstock restore --interface wg0", "what its udev rule does"}},
    .exits = {{Exit::done, "restored, or there was nothing to restore"}, {Exit::failed, "nothing could be restored"}, {Exit::usage, "wrong usage"},
              {Exit::degraded, "an earlier revision runs, or not everything could be done"}},
    .run = run,
};

}  // namespace penstock
