// --help and the man page, from the descriptors.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/command.h"
#include "version.h"

namespace penstock {
namespace {

std::string spelled(const Option& o) { return o.metavar.empty() ? o.name : o.name + " " + o.metavar; }

// Words of `text` in lines of at most `width` columns, each indented; an empty line separates paragraphs.
std::string wrapped(std::string_view text, size_t indent, size_t width = 100) {
  std::string out, line;
  const std::string margin(indent, ' ');
  const auto flush = [&] {
    if (!line.empty()) out += margin + line + "\n";
    line.clear();
  };
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with("\n\n")) {
      flush();
      out += "\n";
      at += 2;
      continue;
    }
    if (text[at] == ' ' || text[at] == '\n') {
      ++at;
      continue;
    }
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const auto word = text.substr(at, end - at);
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) flush();
    if (!line.empty()) line += ' ';
    line += word;
    at = end;
  }
  flush();
  return out;
}

std::string entry(std::string_view name, std::string_view text, size_t column) {
  const std::string body = wrapped(text, column + 4);
  return fmt::format("  {:<{}}  {}", name, column, body.empty() ? "\n" : body.substr(column + 4));
}

std::string options_text(std::span<const Option> options) {
  size_t column = 0;
  for (const Option& o : options) column = std::max(column, spelled(o).size());
  std::string out;
  for (const Option& o : options) {
    std::string text = o.description;
    if (o.repeat) text += " (may be repeated)";
    if (o.required) text += " (required)";
    out += entry(spelled(o), text, column);
  }
  return out;
}

// Text for roff: what it would read as a request or an escape is made harmless.
std::string roff(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    line_start = c == '\n';
  }
  return out;
}

std::string roff_paragraphs(std::string_view text) {
  std::string out;
  for (size_t at = 0;;) {
    const size_t end = text.find("\n\n", at);
    out += roff(text.substr(at, end - at)) + "\n";
    if (end == std::string_view::npos) return out;
    out += ".PP\n";
    at = end + 2;
  }
}

std::string roff_entry(std::string_view name, std::string_view text) {
  return fmt::format(".TP\n.B {}\n{}\n", roff(name), roff(text));
}

}  // namespace

std::string usage_line(const Command& command) {
  std::string out = "penstock " + command.name;
  for (const Option& o : command.options)
    if (o.required) out.append(" ").append(spelled(o));
  if (std::ranges::any_of(command.options, [](const Option& o) { return !o.required; })) out += " [OPTIONS]";
  for (const Argument& a : command.arguments) {
    const std::string name = a.choices.empty() ? a.name : fmt::format("{}", fmt::join(a.choices, "|"));
    const std::string dots = a.many ? "..." : "";
    out += a.optional ? fmt::format(" [{}{}]", name, dots) : fmt::format(" {}{}", name, dots);
  }
  return out;
}

std::string help_text() {
  std::string out =
      "penstock turns this machine into a network node that one YAML file describes.\n\n"
      "Usage: penstock COMMAND [OPTIONS] ...\n\nCommands:\n";
  size_t column = 0;
  for (const Command* c : commands()) column = std::max(column, c->name.size());
  for (const Command* c : commands()) out += entry(c->name, c->summary, column);
  out += "\nOptions of every command:\n" + options_text(global_options());
  out += "\nExample:\n  penstock apply node.yaml --confirm 60s\n\n"
         "penstock COMMAND --help explains a command; penstock(1) is the manual.\n";
  return out;
}

std::string help_text(const Command& command) {
  std::string out = fmt::format("penstock {}: {}\n\nUsage: {}\n\n{}", command.name, command.summary,
                                usage_line(command), wrapped(command.description, 0));
  if (!command.arguments.empty()) {
    out += "\nArguments:\n";
    size_t column = 0;
    for (const Argument& a : command.arguments) column = std::max(column, a.name.size());
    for (const Argument& a : command.arguments) out += entry(a.name, a.description, column);
  }
  if (!command.options.empty()) out += "\nOptions:\n" + options_text(command.options);
  out += "\nOptions of every command:\n" + options_text(global_options());
  out += command.examples.size() == 1 ? "\nExample:\n" : "\nExamples:\n";
  for (const Example& e : command.examples)
    out += e.meaning.empty() ? fmt::format("  {}\n", e.command) : fmt::format("  {}    # {}\n", e.command, e.meaning);
  out += "\nExit codes:\n";
  for (const ExitNote& e : command.exits) out += fmt::format("  {}  {}\n", static_cast<int>(e.exit), e.meaning);
  return out;
}

std::string man_page() {
  std::string out = fmt::format(".TH PENSTOCK 1 \"\" \"penstock {}\" \"User Commands\"\n", PENSTOCK_VERSION);
  out += ".SH NAME\npenstock \\- turn this machine into a network node that one YAML file describes\n"
         ".SH SYNOPSIS\n.B penstock\n.I COMMAND\n[OPTIONS] ...\n.SH DESCRIPTION\n";
  out += roff_paragraphs(
      "penstock compiles one declarative file into eBPF programs and tables and swaps them in as one transaction. "
      "Nothing of it needs a running process: programs, tables and links are pinned in the kernel.");
  out += ".SH COMMANDS\n";
  for (const Command* c : commands()) {
    out += fmt::format(".SS {}\n.B {}\n.PP\n{}", roff(c->name), roff(usage_line(*c)), roff_paragraphs(c->description));
    for (const Argument& a : c->arguments) out += roff_entry(a.name, a.description);
    for (const Option& o : c->options) out += roff_entry(spelled(o), o.description);
    out += c->examples.size() == 1 ? ".PP\nExample:\n" : ".PP\nExamples:\n";
    for (const Example& e : c->examples) {
      out += fmt::format(".PP\n.RS\n.nf\n{}\n.fi\n.RE\n", roff(e.command));
      if (!e.meaning.empty()) out += roff(e.meaning) + "\n";
    }
    out += ".PP\nExit codes:\n";
    for (const ExitNote& e : c->exits) out += roff_entry(std::to_string(static_cast<int>(e.exit)), e.meaning);
  }
  out += ".SH OPTIONS\nEvery command takes these:\n";
  for (const Option& o : global_options()) out += roff_entry(spelled(o), o.description);
  out += ".SH FILES\n";
  out += roff_entry("/sys/fs/bpf/penstock", "what runs: pinned programs, tables and links, one folder for each instance");
  out += roff_entry("/run/penstock", "locks and pending transactions, one folder for each instance");
  out += roff_entry("/var/lib/penstock", "revisions, with the contents of their set files");
  return out;
}

}  // namespace penstock
