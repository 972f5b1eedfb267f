#include <algorithm>

#include "app/cli/command.h"

namespace penstock {

std::span<const Command* const> commands() {
  static constexpr const Command* list[] = {
#define COMMAND(name) &command_##name,
#include "app/cli/commands.def"
#undef COMMAND
  };
  return list;
}

const Command* find_command(std::string_view name) {
  const auto list = commands();
  const auto found = std::ranges::find_if(list, [&](const Command* c) { return c->name == name; });
  return found == list.end() ? nullptr : *found;
}

std::span<const Option> global_options() {
  static const std::vector<Option> list = {
      {.name = "--json", .description = "print JSON, with a versioned schema"},
      {.name = "--instance", .metavar = "NAME", .description = "which penstock of this machine ([a-z0-9-], \"default\")",
       .kind = Kind::text},
      {.name = "--color", .metavar = "WHEN", .description = "colours: auto, always or never", .kind = Kind::choice,
       .choices = {"auto", "always", "never"}},
      {.name = "--help", .description = "say how to use it, with an example"},
      {.name = "--version", .description = "print the version"},
  };
  return list;
}

bool Invocation::has(std::string_view option) const {
  return std::ranges::any_of(options, [&](const auto& o) { return o.first == option; });
}

std::optional<std::string> Invocation::option(std::string_view name) const {
  const auto all = all_options(name);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

static std::vector<std::string> values(const std::vector<std::pair<std::string, std::string>>& pairs,
                                       std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [key, value] : pairs)
    if (key == name) out.push_back(value);
  return out;
}

std::vector<std::string> Invocation::all_options(std::string_view name) const { return values(options, name); }
std::vector<std::string> Invocation::all_arguments(std::string_view name) const { return values(arguments, name); }

std::string Invocation::argument(std::string_view name, std::string fallback) const {
  const auto all = all_arguments(name);
  return all.empty() ? std::move(fallback) : all.front();
}

}  // namespace penstock
