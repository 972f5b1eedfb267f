// A change of what runs, as a transaction: everything is loaded before the first switch, one word switches all hooks,
// and whoever dies at any point leaves the old or the new generation, never a mixture.
//
//   load and pin gen-N -> save the revision -> gates onto every hook (still choosing the old) -> one word flips
//   -> [wait to be confirmed] -> gates replaced by the programs -> the old generation is dropped
//
// What was cut off is finished or undone by settle(), which every changing command calls first: the word decides.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/plan/attachments.h"
#include "core/plan/loader.h"
#include "core/plan/revisions.h"
#include "core/plan/running.h"
#include "core/plan/settings.h"

namespace penstock {

// What settle() found and did.
struct Settled {
  enum class What { nothing, finished, reverted, undone } what = What::nothing;
  uint64_t from = 0, to = 0;
  std::vector<Diagnostic> warnings;
};

// Finishes a confirmed change, undoes one that expired or was cut off before its switch, removes leftovers, re-attaches
// devices that came back.  A change that waits is left waiting.  The caller holds the lock.
Result<Settled> settle(const Instance& instance);

struct Change {
  Image image;
  Revision revision;                    // number and generation are filled in by next_generation()
  std::string config;                   // text of the file
  std::map<std::string, std::string> set_files;
  std::vector<Setting> settings;        // of devices, changed before the switch and put back where it is taken back
  std::optional<std::chrono::nanoseconds> confirm;  // absent: confirmed at once
};

// The number that the next generation and revision get.
uint64_t next_number(const Instance& instance, const Running& running);

struct Applied {
  uint64_t generation = 0;
  bool waiting = false;
  std::chrono::nanoseconds verify{};    // time to load and verify
  std::chrono::nanoseconds total{};
  std::vector<Diagnostic> warnings;
};

// What a change is carried out with: the programs of its generation, and those that judged it for risks (there may be none),
// which are kept with it.  From the spare: standing programs of both kinds.
struct Candidate {
  Loaded programs;
  Loaded judges;
};

// Carries out the change; on an error the old generation runs on.
Result<Applied> carry_out(const Instance& instance, const Change& change, const Candidate& candidate);

// Brings a kept revision back where nothing runs, after a reboot.  As nothing judged before there is nothing to switch: its
// devices get their programs one after another, and one that cannot is a warning.  revision.number is the kept one's, which
// is written anew where the image differs from what it says.  Killed on the way: the next command goes on, or nothing runs.
Result<Applied> bring_back(const Instance& instance, const Change& change, const Candidate& candidate);

// Records a revision whose image equals what runs: only the file changed.
Result<> record_only(const Instance& instance, const Change& change);

// Confirms the change that waits.  Refused (Exit::reverted) in the last two clock ticks and after the deadline.
Result<uint64_t> confirm(const Instance& instance);

// Takes back the change that waits, now.
Result<uint64_t> take_back(const Instance& instance);

// Detaches and removes everything of this instance from the kernel, whatever state it is in.  Returns what was removed.
Result<std::vector<std::string>> remove_all(const Instance& instance);

}  // namespace penstock
