#include "core/config/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/base/diagnostic.h"

namespace penstock {

std::string Decoder::resolve_path(const std::string& path) const {
  return (std::filesystem::path(document_.file()).parent_path() / path).string();
}

bool Decoder::error(Diagnostic diagnostic) {
  if (errors_.size() < most_errors)
    errors_.push_back(std::move(diagnostic));
  else
    ++more_errors_;
  return false;
}
bool Decoder::error(const Location& at, std::string message, std::string hint) {
  return error(document_.diagnostic(at, std::move(message), std::move(hint)));
}
bool Decoder::error(const Node& node, std::string message, std::string hint) {
  return error(document_.at(node), std::move(message), std::move(hint));
}
void Decoder::warn(const Location& at, std::string message, std::string hint) {
  warnings_.push_back(document_.diagnostic(at, std::move(message), std::move(hint)));
}

void Decoder::define(const std::string& kind, const std::string& name, const Location& at, Unused unused) {
  Names& names = defined_[kind];
  names.listed.emplace_back(name, Definition{at, unused});
  names.unused_matters |= unused == Unused::warn;
}
std::map<std::string, Decoder::Definition>& Decoder::names_of(const std::string& kind) {
  Names& names = defined_[kind];
  for (auto& [name, definition] : names.listed) names.sorted.emplace(std::move(name), std::move(definition));
  names.listed.clear();
  return names.sorted;
}
void Decoder::redefine(const std::string& from, const std::string& to, const std::string& name) {
  if (auto node = names_of(from).extract(name)) names_of(to).insert(std::move(node));
}
void Decoder::mark_empty(const std::string& kind, const std::string& name) { names_of(kind)[name].empty = true; }
void Decoder::refer(const std::string& kind, const std::string& name, const Node& node) {
  references_.push_back({kind, name, document_.at(node)});
}

void Decoder::check_reference(const Reference& reference) {
  auto& names = names_of(reference.kind);
  const auto found = names.find(reference.name);
  if (found == names.end()) {
    if (incomplete_.contains(reference.kind)) return;
    std::vector<std::string> known;
    for (const auto& [name, definition] : names) known.push_back(name);
    std::string hint = suggest(reference.name, known);
    if (known.empty()) hint = fmt::format("the file defines no {}", reference.kind);
    for (const auto& [kind, others] : defined_)
      if (names_of(kind).contains(reference.name)) hint = fmt::format("`{}` is a {}", reference.name, kind);
    error(reference.at, fmt::format("unknown {} `{}`", reference.kind, reference.name), std::move(hint));
    return;
  }
  found->second.used = true;
  if (found->second.empty)
    warn(reference.at, fmt::format("the {} `{}` is empty", reference.kind, reference.name), "until elements are added at run time, it matches nothing");
}

Result<> Decoder::finish() {
  for (const Reference& reference : references_) check_reference(reference);
  if (!errors_.empty()) {
    Error all;
    all.diagnostics = std::move(errors_);
    std::ranges::stable_sort(all.diagnostics, {}, [&](const Diagnostic& d) {
      return std::pair(d.at.file == document_.file() ? d.at.line : UINT32_MAX, d.at.column);  // other files come last
    });
    if (more_errors_ > 0) all.diagnostics.back().detail.push_back(fmt::format("and {} more errors, not shown", more_errors_));
    return Failure(std::move(all));
  }
  for (const auto& [kind, names] : defined_) {
    if (!names.unused_matters) continue;
    for (const auto& [name, definition] : names_of(kind))
      if (!definition.used && definition.unused == Unused::warn)
        warn(definition.at, fmt::format("the {} `{}` is never used", kind, name), "remove it, or refer to it");
  }
  std::ranges::stable_sort(warnings_, {}, [](const Diagnostic& d) { return d.at.line; });
  return {};
}

}  // namespace penstock
