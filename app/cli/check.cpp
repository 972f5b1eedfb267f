// penstock check
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "core/base/diagnostic.h"

namespace penstock {

static int run(const Invocation& in) {
  auto config = load_config(in.argument("FILE"));
  if (!config) return in.out.fail(config.error());
  auto image = compile(*config);
  if (!image) return in.out.fail(image.error());
  for (const Diagnostic& d : config->warnings) in.out.warn(d);
  size_t rules = 0, elements = 0;
  for (const Policy& p : config->policies) rules += p.rules.size();
  for (const Set& s : config->sets) elements += s.prefixes.size();
  Json warnings = Json::array();
  for (const Diagnostic& d : config->warnings) warnings.push_back(diagnostic_json(d));
  in.out.json({{"ok", true}, {"interfaces", config->interfaces.size()}, {"sets", config->sets.size()}, {"elements", elements},
               {"policies", config->policies.size()}, {"rules", rules}, {"warnings", std::move(warnings)}});
  in.out.print(fmt::format("{}: good ({} interface{}, {} rule{}, {} element{} in {} set{})\n", config->file, config->interfaces.size(),
                           config->interfaces.size() == 1 ? "" : "s", rules, rules == 1 ? "" : "s", count_text(elements), elements == 1 ? "" : "s",
                           config->sets.size(), config->sets.size() == 1 ? "" : "s"));
  return 0;
}

const Command command_check = {
    .name = "check",
    .summary = "read and compile a file, and run its tests",
    .description = "Reads FILE and its set files, compiles them and, when started as root, runs the tests of the file on the real programs. Nothing on the node is touched.",
    .arguments = {{.name = "FILE", .description = "the node's file", .kind = Kind::path}},
    .examples = {{"penstock check node.yaml"}},
    .run = run,
};

}  // namespace penstock
