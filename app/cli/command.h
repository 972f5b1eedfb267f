// The frame of every command.  One descriptor says what a command takes; parsing, --help, the man page and shell
// completion all come from it.
//
// A command is one file, app/cli/NAME.cpp:
//
//   static int run(const Invocation& in) {
//     ...
//     if (!result) return in.out.fail(result.error());
//     in.out.print("done\n");                  // people
//     in.out.json({{"generation", 7}});        // --json: {"schema": "penstock/NAME/1", "generation": 7}
//     return 0;
//   }
//   const Command command_NAME = {.name = "NAME", .summary = "...", ..., .run = run};
//
// and one line in app/cli/commands.def.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/cli/output.h"
#include "core/base/result.h"

namespace penstock {

// What a value is: checked by the parser where it can be (number, choice), and what the shell completes it with.
enum class Kind { flag, text, number, duration, path, choice, device };

struct Option {
  std::string name;                      // "--confirm"
  std::string metavar{};                 // "DURATION"; empty for a flag
  std::string description{};
  Kind kind = Kind::flag;
  std::vector<std::string> choices{};    // for Kind::choice
  bool repeat = false;                   // may be given more than once
  bool required = false;
};

struct Argument {
  std::string name;                      // "FILE"
  std::string description{};
  Kind kind = Kind::text;
  std::vector<std::string> choices{};
  bool optional = false;
  bool many = false;                     // takes all that is left; only the last argument may
};

struct ExitNote {
  Exit exit;
  std::string meaning;
};

struct Example {
  std::string command;                   // "penstock check node.yaml"
  std::string meaning{};
};

struct Invocation;

struct Command {
  std::string name;
  std::string summary{};                 // one line, lower case, no full stop
  std::string description{};             // paragraphs, separated by an empty line
  std::vector<Argument> arguments{};
  std::vector<Option> options{};
  std::vector<Example> examples{};       // at least one
  std::vector<ExitNote> exits{{Exit::done, "done"}, {Exit::failed, "failed"}, {Exit::usage, "wrong usage"}};
  int (*run)(const Invocation&) = nullptr;
  unsigned schema = 1;                   // version of the --json output
};

enum class Color { automatic, always, never };

// The options every command has.
struct Globals {
  bool json = false;
  std::string instance = "default";      // [a-z0-9-]+
  Color color = Color::automatic;
};

// A command line that fits its command's descriptor.
struct Invocation {
  const Command& command;
  Globals globals;
  Output& out;
  std::vector<std::pair<std::string, std::string>> options{};    // in the order given; a flag has an empty value
  std::vector<std::pair<std::string, std::string>> arguments{};  // by the argument's name

  bool has(std::string_view option) const;
  std::optional<std::string> option(std::string_view name) const;          // the last one given
  std::vector<std::string> all_options(std::string_view name) const;
  std::string argument(std::string_view name, std::string fallback = {}) const;  // the first of that name
  std::vector<std::string> all_arguments(std::string_view name) const;
};

#define COMMAND(name) extern const Command command_##name;
#include "app/cli/commands.def"
#undef COMMAND

std::span<const Command* const> commands();          // app/cli/commands.def, in that order
std::span<const Option> global_options();
const Command* find_command(std::string_view name);

// The whole program: parses, runs, renders errors.  Returns the exit code.
int run_command_line(int argc, const char* const* argv);

// What run_command_line() parses with; `arguments` starts behind the command's name.  Errors have Exit::usage.
struct Parsed {
  Globals globals;
  bool help = false;
  std::vector<std::pair<std::string, std::string>> options, arguments;
};
Result<Parsed> parse_arguments(const Command& command, std::span<const std::string> arguments);

// Texts made from the descriptors.
std::string help_text();                             // penstock --help
std::string help_text(const Command& command);       // penstock NAME --help
std::string usage_line(const Command& command);      // "penstock apply [OPTIONS] FILE"
std::string man_page();                              // penstock(1), roff
Result<std::string> completion_script(std::string_view shell);  // "bash", "zsh" or "fish"

}  // namespace penstock
