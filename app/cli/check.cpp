// penstock check
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <unistd.h>

#include "app/cli/change.h"
#include "app/replay.h"
#include "core/base/diagnostic.h"

namespace penstock {

static int run(const Invocation& in) {
  auto config = load_config(in.argument("FILE"));
  if (!config) return in.out.fail(config.error());
  auto image = compile(*config);
  if (!image) return in.out.fail(image.error());
  for (const Diagnostic& d : config->warnings) in.out.warn(d);
  size_t tests = 0;
  if (!config->tests.empty() && geteuid() == 0) {
    auto passed = require_tests(*config, *image);
    if (!passed) {
      quote_source(passed.error(), *config);
      return in.out.fail(passed.error());
    }
    tests = *passed;
  } else if (!config->tests.empty()) {
    in.out.warn(Diagnostic{fmt::format("the {} tests of the file were not run: that needs root", config->tests.size())});
  }
  size_t rules = 0, elements = 0;
  for (const Policy& p : config->policies) rules += p.rules.size();
  for (const Set& s : config->sets) elements += s.prefixes.size();
  Json warnings = Json::array();
  for (const Diagnostic& d : config->warnings) warnings.push_back(diagnostic_json(d));
  in.out.json({{"ok", true}, {"interfaces", config->interfaces.size()}, {"sets", config->sets.size()}, {"elements", elements},
               {"policies", config->policies.size()}, {"rules", rules}, {"tests_passed", tests}, {"tests", config->tests.size()}, {"warnings", std::move(warnings)}});
  in.out.print(fmt::format("{}: good ({} interface{}, {} rule{}, {} element{} in {} set{}{})\n", config->file, config->interfaces.size(),
                           config->interfaces.size() == 1 ? "" : "s", rules, rules == 1 ? "" : "s", count_text(elements), elements == 1 ? "" : "s",
                           config->sets.size(), config->sets.size() == 1 ? "" : "s", tests ? fmt::format(", {} test{} passed", tests, tests == 1 ? "" : "s") : ""));
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
