// penstock check
#include <fmt/format.h>

#include <cstdint>

#include <nlohmann/json.hpp>

#include <unistd.h>

#include "app/cli/change.h"
#include "app/coverage.h"
#include "app/replay.h"
#include "core/base/diagnostic.h"
#include "features/policy/coverage.h"

namespace penstock {

constexpr size_t most_findings = 20;  // that are shown without --verbose

// Each with its source line, at most `most` of them; how many are left out is said.
static void show(const Invocation& in, const Config& config, std::vector<Diagnostic>& findings, size_t most, const char* what) {
  Error shown;
  for (size_t i = 0; i < findings.size() && i < most; ++i) shown.diagnostics.push_back(findings[i]);
  quote_source(shown, config);
  for (const Diagnostic& d : shown.diagnostics) in.out.warn(d);
  if (findings.size() > most) in.out.warn(Diagnostic{fmt::format("{} more {}: --verbose shows them all", findings.size() - most, what)});
}

static int run(const Invocation& in) {
  auto config = load_config(in.argument("FILE"));
  if (!config) return in.out.fail(config.error());
  auto image = compile(*config);
  if (!image) return in.out.fail(image.error());
  for (const Diagnostic& d : config->warnings) in.out.warn(d);
  RuleFindings findings = find_rule_findings(*config);
  const bool verbose = in.has("--verbose");
  show(in, *config, findings.warnings, verbose ? SIZE_MAX : most_findings, "rules that can never match");
  if (verbose) {
    show(in, *config, findings.conflicts, SIZE_MAX, "rules");
    if (findings.conflict_count > most_pairs) in.out.warn(Diagnostic{fmt::format("{} pairs of rules depend on their order, not all are shown", count_text(findings.conflict_count))});
  }
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
  Json warnings = Json::array(), conflicts = Json::array();
  for (const Diagnostic& d : config->warnings) warnings.push_back(diagnostic_json(d));
  for (const Diagnostic& d : findings.warnings) warnings.push_back(diagnostic_json(d));
  for (const Diagnostic& d : findings.conflicts) conflicts.push_back(diagnostic_json(d));
  in.out.json({{"ok", true}, {"interfaces", config->interfaces.size()}, {"sets", config->sets.size()}, {"elements", elements},
               {"policies", config->policies.size()}, {"rules", rules}, {"tests_passed", tests}, {"tests", config->tests.size()}, {"warnings", std::move(warnings)},
               {"conflict_count", findings.conflict_count}, {"conflicts", std::move(conflicts)}});
  if (findings.conflict_count > 0 && !verbose)
    in.out.print(fmt::format("{} pair{} of rules match{} some of the same packets and say{} the opposite, so that their order decides: --verbose names them\n", count_text(findings.conflict_count),
                             findings.conflict_count == 1 ? "" : "s", findings.conflict_count == 1 ? "es" : "", findings.conflict_count == 1 ? "s" : ""));
  in.out.print(fmt::format("{}: good ({} interface{}, {} rule{}, {} element{} in {} set{}{})\n", config->file, config->interfaces.size(),
                           config->interfaces.size() == 1 ? "" : "s", rules, rules == 1 ? "" : "s", count_text(elements), elements == 1 ? "" : "s",
                           config->sets.size(), config->sets.size() == 1 ? "" : "s", tests ? fmt::format(", {} test{} passed", tests, tests == 1 ? "" : "s") : ""));
  return 0;
}

const Command command_check = {
    .name = "check",
    .summary = "read and compile a file, and run its tests",
    .description =
        "Reads FILE and its set files, compiles them and, when started as root, runs the tests of the file on the real programs. Nothing on the node is touched.\n\n"
        "Warns of rules that can never match, because rules before them match all that they do: one alone, or several together where addresses, ports and protocol "
        "tell. Set files count with what they hold now. Pairs of rules that match some of the same packets and say the opposite are counted, and named with "
        "--verbose: there the order decides, which is often meant. A rule with an exception in front of it is no such pair.",
    .arguments = {{.name = "FILE", .description = "the node's file", .kind = Kind::path}},
    .options = {{.name = "--verbose", .description = "name the rules whose order decides, and every rule that can never match"}},
    .examples = {{"penstock check node.yaml"}},
    .run = run,
};

}  // namespace penstock
