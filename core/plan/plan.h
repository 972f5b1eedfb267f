// Image x Running -> Plan: what an apply would do, as plain data.  Pure.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/plan/attachments.h"
#include "core/plan/devices.h"
#include "core/plan/revisions.h"
#include "core/plan/running.h"

namespace penstock {

enum class ActionKind {
  content,   // a part of the file: what the new generation does differently
  table,     // a table is built and filled
  program,   // a program is loaded and verified
  setting,   // a setting of a device
  attach,
  replace,   // the program of a link, in place
  detach,
  record,    // a revision is saved
};
const char* action_name(ActionKind kind);

struct PlanAction {
  ActionKind kind = ActionKind::content;
  char sign = '~';        // + made, - removed, ~ changed
  std::string subject;    // "rule edge/bad", "eth0"
  std::string text;       // "drop (node.yaml:14)"
  std::string impact;     // what users of the network may notice; empty: nothing
  std::string undo;       // how it is taken back
};

struct Plan {
  std::vector<PlanAction> actions;
  std::vector<std::string> notes;         // what is good to know: others on the same devices, and their order
  std::vector<Diagnostic> warnings;       // what stays as it is though it should not
  std::vector<Diagnostic> fallbacks;      // modes that will not be as hoped; the attach itself says more
  std::vector<Setting> settings;          // to be changed before the attach; `since` is for the caller to fill in
  bool reload = false;    // a new generation must be loaded; else there is at most a revision to be saved
  bool attach = false;    // links must be made or removed
  bool empty() const { return actions.empty(); }
};

// current: the revision of the generation that runs, if any.  wanted: attachments_of(image.hooks, devices).
// file_changed: the text of the file differs from the current revision's.  facts: of the devices in `wanted`.  code: of the
// programs that would be loaded, as in Revision.
Plan make_plan(const Image& image, const std::map<std::string, std::string>& digests, const std::optional<Revision>& current,
               const Running& running, const std::vector<Attachment>& wanted, bool file_changed, const Facts& facts = {}, const std::string& code = {});

}  // namespace penstock
