// The spare: the generation that ran before, kept with its programs and tables where its programs are the same as those
// that run.  When a change touches rules but not the kinds of match in use, the spare's tables are filled with it and its
// programs take their turn: nothing is loaded or verified, the gates and deadlines are those of every change, and no packet
// pays for it.  What runs shares no table with the spare that is written.
//
// Pinned as `spare`, with the names of a generation; a rename makes it one.
#pragma once
#include <future>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/plan/loader.h"
#include "core/plan/revisions.h"

namespace penstock {

// Waits, on a thread of its own, until no processor can still be in a program that was detached before.  Invalid where there
// is no spare; an error where the kernel cannot tell.
std::future<Result<>> begin_grace_period(const Instance& instance);

// What the spare is asked to become.
struct SpareRequest {
  const Image& image;
  const std::map<std::string, std::string>& digests;  // of the image
  const Revision& runs;                               // that runs now
  std::string code;                                   // object_digest() of what would be loaded
};

// The spare's programs with tables that say what the image does, and those that judge for risks.  Nothing where there is
// no spare, or where it cannot become this: other constants, other state, too little room.  Then it is untouched.
// state: the maps that outlive generations, which are moved from where the spare is taken.
struct Spare {
  Loaded programs;
  Loaded judges;   // none where they are missing
};
Result<std::optional<Spare>> take_spare(const Instance& instance, const SpareRequest& request, std::map<std::string, Fd>& state,
                                        std::future<Result<>>& grace);

// The spare's pins become those of a generation.
Result<> promote_spare(const Instance& instance, uint64_t generation);

// What was `generation` no longer runs, `runs` does: it becomes the spare in the place of another, or is dropped.
void retire(const Instance& instance, uint64_t generation, uint64_t runs);

}  // namespace penstock
