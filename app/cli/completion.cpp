// penstock completion: scripts for bash, zsh and fish, from the descriptors.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/command.h"

namespace penstock {
namespace {

std::vector<const Option*> options_of(const Command& command) {
  std::vector<const Option*> out;
  for (const Option& o : command.options) out.push_back(&o);
  for (const Option& o : global_options()) out.push_back(&o);
  return out;
}

// 'text' for a shell, whatever is in it.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// The options before a command that have a value, as a pattern: "--instance|--color".
std::string globals_with_value(const char* between) {
  std::string out;
  for (const Option& o : global_options())
    if (o.kind != Kind::flag) out += (out.empty() ? "" : between) + o.name;
  return out;
}

// What bash offers for a value of this kind.
std::string bash_values(Kind kind, const std::vector<std::string>& choices) {
  switch (kind) {
    case Kind::path: return "COMPREPLY=($(compgen -f -- \"$cur\"))";
    case Kind::choice: return fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", fmt::join(choices, " "));
    case Kind::device: return "COMPREPLY=($(compgen -W \"$(ls /sys/class/net)\" -- \"$cur\"))";
    default: return "COMPREPLY=()";
  }
}

std::string bash() {
  std::string names, cases, globals;
  for (const Option& o : global_options()) globals += (globals.empty() ? "" : " ") + o.name;
  for (const Command* c : commands()) {
    names += (names.empty() ? "" : " ") + c->name;
    std::string options, values, with_value;
    for (const Option* o : options_of(*c)) {
      options += (options.empty() ? "" : " ") + o->name;
      if (o->kind == Kind::flag) continue;
      with_value += (with_value.empty() ? "" : "|") + o->name;
      values += fmt::format("        {}) {}; return ;;\n", o->name, bash_values(o->kind, o->choices));
    }
    cases += fmt::format("    {})\n      case \"$prev\" in\n{}      esac\n", c->name, values);
    cases += fmt::format("      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi\n",
                         options);
    // Which argument this is: the words between that are neither options nor their values.
    cases += fmt::format(
        "      local n=0 i; for ((i = at + 1; i < COMP_CWORD; i++)); do case \"${{COMP_WORDS[i]}}\" in {}) ((i++)) ;; "
        "-*) ;; *) ((n++)) ;; esac; done\n", with_value.empty() ? "''" : with_value);
    cases += "      case $n in\n";
    for (size_t i = 0; i < c->arguments.size(); ++i) {
      const Argument& a = c->arguments[i];
      cases += fmt::format("        {}) {} ;;\n", a.many ? "*" : std::to_string(i), bash_values(a.kind, a.choices));
    }
    cases += "        *) COMPREPLY=() ;;\n      esac ;;\n";
  }
  return fmt::format(
      "# bash completion for penstock: source it, or put it into /usr/share/bash-completion/completions/penstock\n"
      "_penstock() {{\n  local cur=\"${{COMP_WORDS[COMP_CWORD]}}\" prev=\"${{COMP_WORDS[COMP_CWORD-1]}}\" at=1\n"
      "  while ((at < COMP_CWORD)); do case \"${{COMP_WORDS[at]}}\" in {}) ((at += 2)) ;; -*) ((at++)) ;; *) break ;; esac; done\n"
      "  if ((at == COMP_CWORD)); then COMPREPLY=($(compgen -W '{} {}' -- \"$cur\")); fi\n"
      "  if ((at >= COMP_CWORD)); then return; fi\n"
      "  case \"${{COMP_WORDS[at]}}\" in\n{}  esac\n}}\ncomplete -o filenames -F _penstock penstock\n",
      globals_with_value("|"), names, globals, cases);
}

std::string zsh_action(Kind kind, const std::vector<std::string>& choices) {
  switch (kind) {
    case Kind::path: return "_files";
    case Kind::choice: return fmt::format("({})", fmt::join(choices, " "));
    case Kind::device: return "_net_interfaces";
    default: return "";
  }
}

// Inside an _arguments specification colons and brackets have a meaning.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_option(const Option& o) {
  std::string spec = (o.repeat ? "*" : "") + o.name + "[" + zsh_text(o.description) + "]";
  if (o.kind != Kind::flag) spec += fmt::format(":{}:{}", o.metavar, zsh_action(o.kind, o.choices));
  return " \\\n        " + shell_quoted(spec);
}

std::string zsh() {
  std::string names, cases, globals;
  for (const Option& o : global_options()) globals += zsh_option(o);
  for (const Command* c : commands()) {
    names += fmt::format("    {}\n", shell_quoted(fmt::format("{}:{}", c->name, zsh_text(c->summary))));
    cases += fmt::format("    {})\n      _arguments", c->name);
    for (const Option* o : options_of(*c)) cases += zsh_option(*o);
    for (size_t i = 0; i < c->arguments.size(); ++i) {
      const Argument& a = c->arguments[i];
      cases += " \\\n        " + shell_quoted(fmt::format("{}:{}:{}", a.many ? "*" : a.optional ? fmt::format("{}:", i + 1) : std::to_string(i + 1),
                                                   a.name, zsh_action(a.kind, a.choices)));
    }
    cases += " ;;\n";
  }
  return fmt::format(
      "#compdef penstock\n# zsh completion for penstock: put it as _penstock into a folder of $fpath\n"
      "_penstock() {{\n  local -a names=(\n{}  )\n  local -i at=2\n"
      "  while ((at < CURRENT)); do case $words[at] in ({}) ((at += 2)) ;; (-*) ((at++)) ;; (*) break ;; esac; done\n"
      "  if ((at == CURRENT)) && [[ $words[at] != -* ]]; then _describe command names; return; fi\n"
      "  if ((at >= CURRENT)); then\n    _arguments{}\n    return\n  fi\n"
      "  local name=$words[at]\n  shift $((at - 1)) words; ((CURRENT -= at - 1))\n  case $name in\n{}  esac\n}}\n"
      "compdef _penstock penstock\n", names, globals_with_value("|"), globals, cases);
}

std::string fish() {
  std::string out = fmt::format(
      "# fish completion for penstock: put it into ~/.config/fish/completions/penstock.fish\n"
      "# Is this the command on the line?  Without a name: is there none yet?\n"
      "function __penstock_command\n  set -l skip 0\n  for word in (commandline -opc)[2..]\n    if test $skip = 1\n      set skip 0\n      continue\n    end\n"
      "    switch $word\n      case {}\n        set skip 1\n      case '-*'\n      case '*'\n        test \"$word\" = \"$argv[1]\"\n        return\n    end\n  end\n"
      "  test -z \"$argv[1]\"\nend\n"
      "complete -c penstock -f\n", globals_with_value(" "));
  const auto values = [](Kind kind, const std::vector<std::string>& choices) -> std::string {
    switch (kind) {
      case Kind::path: return " -F";
      case Kind::choice: return fmt::format(" -a {}", shell_quoted(fmt::format("{}", fmt::join(choices, " "))));
      case Kind::device: return " -a '(ls /sys/class/net)'";
      default: return "";
    }
  };
  const auto option = [&](const std::string& when, const Option& o) {
    out += fmt::format("complete -c penstock{} -l {}{}{} -d {}\n", when, o.name.substr(2), o.kind == Kind::flag ? "" : o.kind == Kind::path ? " -r" : " -x",
                       values(o.kind, o.choices), shell_quoted(o.description));
  };
  for (const Command* c : commands()) {
    out += fmt::format("complete -c penstock -n __penstock_command -a {} -d {}\n", c->name, shell_quoted(c->summary));
    const std::string when = " -n " + shell_quoted("__penstock_command " + c->name);
    for (const Option& o : c->options) option(when, o);
    for (const Argument& a : c->arguments)
      if (const auto offered = values(a.kind, a.choices); !offered.empty())
        out += fmt::format("complete -c penstock{}{} -d {}\n", when, offered, shell_quoted(a.description));
  }
  for (const Option& o : global_options()) option("", o);
  return out;
}

int run(const Invocation& in) {
  const auto script = completion_script(in.argument("SHELL"));
  if (!script) return in.out.fail(script.error());
  in.out.print(*script);
  in.out.json({{"shell", in.argument("SHELL")}, {"script", *script}});
  return 0;
}

}  // namespace

Result<std::string> completion_script(std::string_view shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  return fail(fmt::format("no completion for the shell `{}`", shell), "bash, zsh or fish");
}

const Command command_completion = {
    .name = "completion",
    .summary = "print a script that completes penstock's command line in a shell",
    .description = "Prints a completion script for bash, zsh or fish.",
    .arguments = {{.name = "SHELL", .description = "bash, zsh or fish", .kind = Kind::choice,
                   .choices = {"bash", "zsh", "fish"}}},
    .examples = {{"source <(penstock completion bash)", "complete in this shell"}},
    .run = run,
};

}  // namespace penstock
