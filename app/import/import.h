// Rule sets of other firewalls in, a node's file out.  Pure: no system call.
#pragma once
#include <string>
#include <vector>

#include "app/import/flatten.h"
#include "core/base/result.h"

namespace penstock::foreign {

struct Source {
  std::string name;     // of the file, for messages
  std::string text;
};

// What iptables-save and ip6tables-save print.  Files of both families may be given.  `ipsets`: what `ipset save` prints.
Result<Ruleset> read_iptables(const std::vector<Source>& sources, const std::vector<Source>& ipsets);
// ufw's own files: user.rules and user6.rules, and before*.rules and after*.rules where they are given too.
Result<Ruleset> read_ufw(const std::vector<Source>& sources, const std::vector<Source>& ipsets);
// What `nft -j list ruleset` prints.
Result<Ruleset> read_nft(const Source& source);

struct Imported {
  std::string yaml;
  Flat flat;
  Ruleset rules;        // whose lines `flat` points to
};

// `format`: iptables-save, nft-json or ufw.  Errors point into a source: it is not of that format.  `options` as in flatten().
Result<Imported> import_rules(const std::string& format, const std::vector<Source>& sources, const std::vector<Source>& ipsets, const Options& options);

// "drops packets that the original accepts", "" for Effect::none.
std::string effect_text(Effect effect);

}  // namespace penstock::foreign
