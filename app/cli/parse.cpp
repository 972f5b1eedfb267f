// From words to an Invocation, by the command's descriptor.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "core/base/diagnostic.h"

namespace penstock {
namespace {

Failure usage_error(std::string message, std::string hint) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return fail(std::move(d), Exit::usage);
}

Failure usage_error(std::string message, const Command& command) {
  return usage_error(std::move(message), fmt::format("usage: {}", usage_line(command)));
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known, std::string fallback) {
  std::string hint = did_you_mean(word, known);
  return hint.empty() ? fallback : hint;
}

const Option* find_option(const Command& command, std::string_view name) {
  for (const Option& o : command.options)
    if (o.name == name) return &o;
  for (const Option& o : global_options())
    if (o.name == name || (name == "-h" && o.name == "--help")) return &o;
  return nullptr;
}

Result<> check_value(const std::string& name, Kind kind, const std::vector<std::string>& choices,
                     const std::string& value) {
  if (kind == Kind::choice && std::ranges::find(choices, value) == choices.end())
    return usage_error(fmt::format("{} cannot be `{}`", name, value),
                       suggestion(value, choices, fmt::format("one of {}", fmt::join(choices, ", "))));
  if (kind == Kind::number) {
    uint64_t number = 0;
    const auto end = value.data() + value.size();
    const auto [stop, code] = std::from_chars(value.data(), end, number);
    if (code != std::errc() || stop != end)
      return usage_error(fmt::format("{} needs a whole number, not `{}`", name, value), std::string());
  }
  return {};
}

Result<> set_global(Parsed& parsed, const std::string& name, const std::string& value) {
  if (name == "--json") parsed.globals.json = true;
  if (name == "--help") parsed.help = true;
  if (name == "--color")
    parsed.globals.color = value == "always" ? Color::always : value == "never" ? Color::never : Color::automatic;
  if (name == "--instance") {
    const bool good = !value.empty() && value.size() <= 32 && std::ranges::all_of(value, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (!good)
      return usage_error(fmt::format("`{}` is no name of an instance", value),
                         "up to 32 lower-case letters, digits and hyphens");
    parsed.globals.instance = value;
  }
  return {};
}

Result<> place_arguments(const Command& command, const std::vector<std::string>& words, Parsed& parsed) {
  size_t next = 0;
  for (const Argument& argument : command.arguments) {
    if (next == words.size()) {
      if (argument.optional) break;
      return usage_error(fmt::format("{} is missing", argument.name), command);
    }
    do {
      TRY(check_value(argument.name, argument.kind, argument.choices, words[next]));
      parsed.arguments.emplace_back(argument.name, words[next++]);
    } while (argument.many && next < words.size());
  }
  if (next < words.size()) return usage_error(fmt::format("unexpected argument `{}`", words[next]), command);
  return {};
}

bool use_color(Color color) {
  if (color != Color::automatic) return color == Color::always;
  return isatty(STDOUT_FILENO) && isatty(STDERR_FILENO) && !std::getenv("NO_COLOR");
}

std::string schema_of(const Command& command) {
  return fmt::format("penstock/{}/{}", command.name, command.schema);
}

// Where parsing fails, --json is still honoured.
bool wants_json(std::span<const std::string> words) { return std::ranges::find(words, "--json") != words.end(); }

}  // namespace

Result<Parsed> parse_arguments(const Command& command, std::span<const std::string> arguments) {
  Parsed parsed;
  std::vector<std::string> words;
  bool only_words = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (only_words || word.size() < 2 || word[0] != '-') {
      words.push_back(word);
      continue;
    }
    if (word == "--") {
      only_words = true;
      continue;
    }
    const size_t equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    const std::string name = word.substr(0, equals);
    const Option* option = find_option(command, name);
    if (!option) {
      std::vector<std::string> known;
      for (const Option& o : command.options) known.push_back(o.name);
      for (const Option& o : global_options()) known.push_back(o.name);
      return usage_error(fmt::format("unknown option {}", name),
                         suggestion(name, known, fmt::format("usage: {}", usage_line(command))));
    }
    std::string value;
    if (option->kind == Kind::flag) {
      if (equals != std::string::npos) return usage_error(fmt::format("{} takes no value", name), command);
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return usage_error(fmt::format("{} needs a value", name), command);
    }
    TRY(check_value(option->name, option->kind, option->choices, value));
    const bool global = std::ranges::any_of(global_options(), [&](const Option& o) { return &o == option; });
    if (global) {
      TRY(set_global(parsed, option->name, value));
      continue;
    }
    const bool given = std::ranges::any_of(parsed.options, [&](const auto& o) { return o.first == option->name; });
    if (given && !option->repeat) return usage_error(fmt::format("{} is given twice", name), command);
    parsed.options.emplace_back(option->name, value);
  }
  if (parsed.help) return parsed;
  for (const Option& option : command.options) {
    const bool given = std::ranges::any_of(parsed.options, [&](const auto& o) { return o.first == option.name; });
    if (option.required && !given) return usage_error(fmt::format("{} is missing", option.name), command);
  }
  TRY(place_arguments(command, words, parsed));
  return parsed;
}

int run_command_line(int argc, const char* const* argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const Output plain("penstock/error/1", wants_json(words), use_color(Color::automatic));

  // Global options may stand before the command's name: move them behind it.
  size_t at = 0;
  while (at < words.size() && words[at].starts_with('-')) {
    const bool takes_value = words[at] == "--instance" || words[at] == "--color";
    at += takes_value ? 2 : 1;
  }
  if (at >= words.size()) {
    if (std::ranges::find(words, "--version") != words.end()) {
      words.erase(std::ranges::find(words, "--version"));
      words.insert(words.begin(), "version");
    } else if (words.empty() || std::ranges::any_of(words, [](auto& w) { return w == "--help" || w == "-h"; })) {
      std::fputs(help_text().c_str(), words.empty() ? stderr : stdout);
      return static_cast<int>(words.empty() ? Exit::usage : Exit::done);
    } else {
      return plain.fail(usage_error("no command is given", "penstock --help lists the commands").error());
    }
  } else {
    std::rotate(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(at),
                words.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }

  if (words[0] == "help") {  // penstock help [COMMAND]
    if (words.size() == 1) words = {"--help"};
    else words = {words[1], "--help"};
    if (words.size() == 1) {
      std::fputs(help_text().c_str(), stdout);
      return 0;
    }
  }
  const Command* command = find_command(words[0]);
  if (!command) {
    std::vector<std::string> known;
    for (const Command* c : commands()) known.push_back(c->name);
    return plain.fail(usage_error(fmt::format("unknown command `{}`", words[0]),
                                  suggestion(words[0], known, "penstock --help lists the commands")).error());
  }
  const auto rest = std::span<const std::string>(words).subspan(1);
  auto parsed = parse_arguments(*command, rest);
  if (!parsed) return Output(schema_of(*command), wants_json(rest), plain.color()).fail(parsed.error());
  if (parsed->help) {
    std::fputs(help_text(*command).c_str(), stdout);
    return 0;
  }
  Output out(schema_of(*command), parsed->globals.json, use_color(parsed->globals.color));
  const Invocation invocation{*command, parsed->globals, out, std::move(parsed->options), std::move(parsed->arguments)};
  const int code = command->run(invocation);
  // What could not be written was not done: a full disk or a closed pipe must not look like success.
  if (std::fflush(stdout) != 0 && code == 0) return static_cast<int>(Exit::failed);
  return code;
}

}  // namespace penstock
