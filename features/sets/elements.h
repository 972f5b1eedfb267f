// Run-time elements of sets.  The truth is a file per set (elements_file.h); what the kernel holds is derived from it:
// a table built aside and swapped into map `set_extra` at once.  Whoever dies in between leaves the old table or the new
// one, and sync_elements() brings the kernel up to the file.  Callers hold the lock of the instance.
#pragma once
#include <string>
#include <vector>

#include "core/plan/loader.h"
#include "core/plan/running.h"
#include "features/sets/compile.h"
#include "features/sets/elements_file.h"

namespace penstock {

// What compile_sets() has to know: numbers in use, whose hits are counted, and the run-time elements of `sets` that
// are to be counted.
Result<KnownSets> read_known_sets(const Instance& instance, const Running& running, const std::vector<Set>& sets);

// Gives a loaded candidate, number `generation`, the run-time elements, before the switch: after a reboot, and with the ids that its counters
// use.  The generation that runs sees the same elements throughout.
Result<> restore_elements(const Instance& instance, const Image& image, uint64_t generation, const Loaded& loaded);

// Finishes what a killed command left undone.  Nearly free where there is nothing to do.
Result<> sync_elements(const Instance& instance);

// A set as run-time commands see it.
struct LiveSet {
  std::string name;
  uint32_t number = 0;
  bool counters = false;               // a generation that is alive counts its hits
  uint64_t revision = 0;               // that names it: its files hold the set's other elements
  std::vector<uint64_t> generations;   // alive, the one that judges first
};
// Errors: nothing runs; no such set, with a hint.
Result<LiveSet> find_set(const Instance& instance, const Running& running, const std::string& name);

// The run-time elements of the file that have not ended.
Result<std::vector<sets::RunTimeElement>> run_time_elements(const Instance& instance, const std::string& set);

// An element as the kernel judges now.
struct JudgedElement {
  Prefix prefix;
  int64_t remaining = 0;  // ms, at least 1; 0: for ever
};
// Without those that have ended; sorted by prefix.
Result<std::vector<JudgedElement>> judged_elements(const Instance& instance, const LiveSet& set);

// Makes `elements` (sorted by prefix, no duplicates) the run-time elements of the set, on disk and in the kernel.
// Returns how many of them have no counter though the set counts: the next apply makes room.
Result<size_t> put_run_time_elements(const Instance& instance, const LiveSet& set, std::vector<sets::RunTimeElement> elements);

}  // namespace penstock
