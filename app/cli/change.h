// What all commands that change the node have in common: the lock, settling what was cut off, words for the user.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "app/bans.h"
#include "app/cli/command.h"
#include "app/prepare.h"
#include "core/plan/transaction.h"

namespace penstock {

// Holds the lock of the instance; what an earlier change left behind is settled, and the user told.
struct Turn {
  Instance instance;
  Lock lock;
  Settled settled;
};
Result<Turn> take_turn(const Invocation& in, std::chrono::milliseconds patience = std::chrono::seconds(10));

// "12 s", "1 min 5 s", "340 ms"
std::string elapsed_text(std::chrono::nanoseconds time);
std::string time_text(int64_t seconds);  // local wall time

// "1,234,567"
std::string count_text(uint64_t number);

Json plan_json(const Prepared& prepared);
std::string plan_text(const Output& out, const Prepared& prepared);

struct ApplyOptions {
  std::optional<std::chrono::nanoseconds> confirm;
  std::vector<std::string> accepted;   // risks
};
// The common end of apply and rollback: tests, risks, then the change.  Prints, returns the exit code.
int apply_prepared(const Invocation& in, const Instance& instance, Prepared& prepared, const ApplyOptions& options);

// What is to be said of restore_bans(): it never keeps a change from being made.
std::vector<Diagnostic> bans_lost(const Result<PutBans>& restored);

// --confirm and --accept-risk, for apply and rollback.
std::vector<Option> apply_options();
Result<ApplyOptions> read_apply_options(const Invocation& in);

}  // namespace penstock
