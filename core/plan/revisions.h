// Revisions: every file that was applied, with its set files and what was made of it, under the state directory.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/plan/image.h"
#include "core/plan/instance.h"

namespace penstock {

// candidate: applied, not confirmed.  reverted: the deadline passed or somebody rolled it back while it waited.
enum class RevisionStatus { candidate, confirmed, reverted };
const char* status_name(RevisionStatus status);

struct Revision {
  uint64_t number = 0;
  uint64_t generation = 0;       // the generation that runs it: its own number, or an older one's whose image is equal
  int64_t created = 0;           // wall clock, seconds
  std::string user;              // who applied it
  std::string source;            // the path that was applied
  std::string note;              // "rollback to 3"
  RevisionStatus status = RevisionStatus::candidate;
  std::vector<HookImage> hooks;  // without constants
  std::vector<SetImage> sets;
  std::vector<BackendImage> backends;
  std::vector<std::string> needs;      // Setting::key() of settings besides offloads
  std::vector<Slot> slots;
  std::map<std::string, std::string> structures;  // as in the image
  std::map<std::string, std::string> digests;     // "table NAME", "hook NAME": what the image held
  std::map<std::string, Part> parts;
  std::string code;              // digest of the object that the generation's programs were loaded from; empty: not known
  std::map<uint32_t, std::string> devices;        // that it was applied to, by ifindex: for when they are gone
  std::map<std::string, std::string> machine;     // what was taken from the machine, "wan v4" -> "192.0.2.1": for a boot, when it is not there yet
};

// Digests of everything that the kernel sees of an image.  Positions in the file are not in it.
std::map<std::string, std::string> digests_of(const Image& image);

std::string hook_key(const HookImage& hook);  // of its digest

class Revisions {
 public:
  explicit Revisions(const Instance& instance) : root_(instance.state + "/revisions") {}

  std::string directory(uint64_t number) const { return root_ + "/" + std::to_string(number); }
  std::string file(uint64_t number) const { return directory(number) + "/node.yaml"; }
  std::string set_file(uint64_t number, const std::string& set) const { return directory(number) + "/sets/" + set; }

  std::vector<uint64_t> numbers() const;  // ascending
  Result<Revision> read(uint64_t number) const;
  Result<Revision> with_parts(uint64_t number) const;  // without slots
  Result<Revision> head(uint64_t number) const;  // without slots and parts: cheap however many rules there are
  std::vector<Revision> heads() const;           // those that can be read
  RevisionStatus status(uint64_t number) const;  // also where the rest is damaged; candidate where nothing is known

  // The last name of a device that is gone, by what was applied; empty where no kept revision knows it.
  std::string device(uint32_t ifindex) const;

  // Writes a whole revision aside and renames it into place: there or not there, never half.  sync() brings it onto the disk.
  // Where the revision is there already, the new one is on the disk before both change places.
  // config: the text of the file.  set_files: by set name, the path that was read.
  Result<> save(const Revision& revision, const std::string& config, const std::map<std::string, std::string>& set_files) const;
  Result<> sync(uint64_t number) const;
  Result<> set_status(uint64_t number, RevisionStatus status) const;

  // Deletes the oldest beyond `keep`, never one that runs, is pending or was the last confirmed.
  void prune(size_t keep, const std::vector<uint64_t>& needed) const;

  // The slots that kept revisions name, but for `except`; each number once, without its place in the file.
  std::vector<Slot> known_slots(uint64_t except = 0) const;

 private:
  std::string root_;
};

}  // namespace penstock
