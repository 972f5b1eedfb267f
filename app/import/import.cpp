#include "app/import/import.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/import/write.h"

namespace penstock::foreign {

std::string effect_text(Effect effect) {
  switch (effect) {
    case Effect::none: return "";
    case Effect::drops_more: return "the new file drops packets that it accepts";
    case Effect::passes_more: return "the new file passes packets that it drops";
    case Effect::both: return "the new file drops packets that it accepts, or passes packets that it drops";
  }
  return "";
}

Result<Imported> import_rules(const std::string& format, const std::vector<Source>& sources, const std::vector<Source>& ipsets, const Options& options) {
  Ruleset rules;
  if (format == "nft-json") {
    if (sources.size() != 1) return fail("nft-json takes one file", "`nft -j list ruleset` prints all tables");
    TRY_ASSIGN(rules, read_nft(sources.front()));
  } else if (format == "ufw") {
    TRY_ASSIGN(rules, read_ufw(sources, ipsets));
  } else {
    TRY_ASSIGN(rules, read_iptables(sources, ipsets));
  }
  TRY_ASSIGN(Flat flat, flatten(rules, options));
  if (std::ranges::any_of(flat.policies, [](const NewPolicy& p) { return drops(p.fallback); }))
    flat.notes.emplace_back("default: drop lets neighbour discovery and DHCP replies to this host through, which the original drops unless a rule accepts them");
  std::string names;
  for (const Source& source : sources) names += (names.empty() ? "" : ", ") + source.name;
  std::string yaml = write(flat, fmt::format("Imported by `penstock import {}` from {}: {} of its {} rules.", format, names, flat.said, flat.lines));
  return Imported{std::move(yaml), std::move(flat), std::move(rules)};
}

}  // namespace penstock::foreign
