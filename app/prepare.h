// From a file to a plan: everything that happens before the kernel is touched, the same for plan, apply and rollback.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/compile.h"
#include "app/risks.h"
#include "core/plan/plan.h"
#include "core/plan/spare.h"
#include "core/plan/transaction.h"

namespace penstock {

struct Prepared {
  Config config;
  Change change;                        // image, revision (numbered), text of the file
  Running running;
  std::optional<Revision> current;      // of the generation that runs
  std::vector<Attachment> attachments;
  Plan plan;
  std::vector<Risk> risks;              // filled by judge()
  size_t tests_passed = 0;              // likewise
  std::vector<Diagnostic> warnings;
  std::vector<bool> known_slots;        // that kept revisions name, by number
  std::vector<uint32_t> reused_backends;  // ids of services' backends that no kept revision names
  std::future<Result<>> grace;          // see begin_grace_period()
  std::future<Host> host;               // for judge(), which takes it; looked at beside the file
};

// What a kept revision says, read from its own copies: the file may have changed since.
Result<Config> config_of(const Instance& instance, const Revision& revision);

// How many entries one policy may have on this kernel (Known::rule_entries).
Result<size_t> most_rule_entries();

// Reads, compiles and plans `file`; or, with `revision`, what that revision kept.
Result<Prepared> prepare(const Instance& instance, const std::string& file, std::optional<uint64_t> revision = {});

// What kept revision `number` said, for bring_back(): under its number, with what the machine lacks so early in a boot.
Result<Prepared> prepare_kept(const Instance& instance, uint64_t number);

// The candidate's programs and those that judge it, with filled tables; nothing is pinned or attached.  The spare where it
// can become this; else loaded: state shared with what runs, large tables that did not change taken over.
Result<Candidate> load_candidate(const Instance& instance, Prepared& prepared);

// Runs the file's tests, on programs loaded for that alone, and finds the risks, on the candidate's; without one, on
// programs loaded for that.  An error is a test that failed, or programs that the kernel refuses.  Does nothing when the
// plan loads nothing new.
Result<> judge(const Instance& instance, Prepared& prepared, Candidate* candidate = nullptr);

// A name for who asks: the login behind sudo, else the user.
std::string who_asks();

// Does this command come over SSH, also under sudo, tmux or screen where the environment is stripped?
bool over_ssh();

}  // namespace penstock
