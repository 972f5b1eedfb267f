#include "app/config.h"

#include <fmt/format.h>

#include <map>

#include "app/features.h"
#include "app/limits.h"
#include "app/services.h"
#include "core/config/reader.h"

namespace penstock {

namespace {

// Puts the ports of named sets among the ranges of the rules that name them.
Result<> resolve_port_sets(const Document& document, Config& config) {
  std::map<std::string, const Set*> sets;
  for (const Set& set : config.sets)
    if (set.of_ports()) sets[set.name] = &set;
  for (Policy& policy : config.policies)
    for (Rule& rule : policy.rules)
      for (PortMatch* match : {&rule.from_port, &rule.to_port}) {
        for (const std::string& name : match->sets) {
          const std::vector<NumberRange>& ports = sets.at(name)->ports;
          match->ranges.insert(match->ranges.end(), ports.begin(), ports.end());
        }
        merge(match->ranges);
        if (!match->negate || match->any() || match->ranges.front() != PortRange{}) continue;
        return fail(document.diagnostic(rule.at, fmt::format("the rule `{}` excludes every port: it matches nothing", rule.name), "remove the rule, or the negation"));
      }
  return {};
}

}  // namespace

Result<Config> load_config_text(const std::string& path, std::string text, const std::string& copies) {
  TRY_ASSIGN(const Document document, parse_document(path, std::move(text)));
  Decoder decoder(document);
  decoder.read_copies_from(copies);
  Config config;
  config.file = path;
  config_keys().decode(decoder, document.root, config);
  TRY(decoder.finish());
  TRY(resolve_port_sets(document, config));
  config.warnings = decoder.take_warnings();
  TRY(verify_limits(document, config));
  TRY(verify_services(document, config));
  config.text = document.text();
  return config;
}

Result<Config> load_config(const std::string& path) {
  TRY_ASSIGN(std::string text, read_text(path));
  return load_config_text(path, std::move(text));
}

void quote_source(Error& error, const Config& config) {
  for (Diagnostic& d : error.diagnostics) {
    if (d.at.file != config.file || d.at.line == 0 || !d.source_line.empty()) continue;
    size_t start = 0;
    for (uint32_t line = 1; line < d.at.line && start != std::string::npos; ++line) {
      const size_t end = config.text.find('\n', start);
      start = end == std::string::npos ? end : end + 1;
    }
    if (start != std::string::npos) d.source_line = config.text.substr(start, config.text.find('\n', start) - start);
  }
}

}  // namespace penstock
