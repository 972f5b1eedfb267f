// The command line's frame: every descriptor is whole, and words become what they should.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "app/cli/command.h"

namespace penstock {
namespace {

const Command sample = {
    .name = "sample",
    .summary = "a sample",
    .description = "A sample.",
    .arguments = {{.name = "WHAT", .description = "what", .kind = Kind::choice, .choices = {"add", "list"}},
                  {.name = "REST", .description = "the rest", .optional = true, .many = true}},
    .options = {{.name = "--for", .metavar = "TIME", .description = "how long", .kind = Kind::duration},
                {.name = "--count", .metavar = "N", .description = "how many", .kind = Kind::number, .repeat = true},
                {.name = "--now", .description = "at once"}},
    .examples = {{"penstock sample add"}},
};

std::string error_of(std::vector<std::string> words) {
  const auto parsed = parse_arguments(sample, words);
  if (parsed) return "";
  EXPECT_EQ(parsed.error().exit, Exit::usage);
  return parsed.error().message();
}

TEST(CommandLine, OptionsAndArguments) {
  const std::vector<std::string> words = {"add", "--for=10m", "x", "--json", "--count", "1", "--count", "2", "--now", "--instance", "lab-2", "--", "--y"};
  const auto parsed = parse_arguments(sample, words);
  ASSERT_TRUE(parsed) << parsed.error().message();
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(parsed->options, (Pairs{{"--for", "10m"}, {"--count", "1"}, {"--count", "2"}, {"--now", ""}}));
  EXPECT_EQ(parsed->arguments, (Pairs{{"WHAT", "add"}, {"REST", "x"}, {"REST", "--y"}}));
  EXPECT_TRUE(parsed->globals.json);
  EXPECT_EQ(parsed->globals.instance, "lab-2");
}

TEST(CommandLine, Refusals) {
  EXPECT_EQ(error_of({}), "WHAT is missing");
  EXPECT_EQ(error_of({"addd"}), "WHAT cannot be `addd`");
  EXPECT_EQ(error_of({"add", "--fro", "1s"}), "unknown option --fro");
  EXPECT_EQ(error_of({"add", "--for"}), "--for needs a value");
  EXPECT_EQ(error_of({"add", "--now=1"}), "--now takes no value");
  EXPECT_EQ(error_of({"add", "--now", "--now"}), "--now is given twice");
  EXPECT_EQ(error_of({"add", "--count", "-1"}), "--count needs a whole number, not `-1`");
  EXPECT_EQ(error_of({"add", "--instance", "A/b"}), "`A/b` is no name of an instance");
  EXPECT_EQ(error_of({"add", "--color", "blue"}), "--color cannot be `blue`");
}

TEST(CommandLine, EveryCommandIsDescribed) {
  std::set<std::string> names;
  for (const Command* c : commands()) {
    EXPECT_TRUE(names.insert(c->name).second) << c->name;
    EXPECT_NE(c->run, nullptr) << c->name;
    EXPECT_FALSE(c->summary.empty() || c->description.empty()) << c->name;
    ASSERT_FALSE(c->examples.empty()) << c->name;
    for (const Example& e : c->examples) EXPECT_NE(e.command.find("penstock " + c->name), std::string::npos) << e.command;
    for (const Option& o : c->options) {
      EXPECT_TRUE(o.name.starts_with("--") && !o.description.empty()) << c->name << " " << o.name;
      EXPECT_EQ(o.metavar.empty(), o.kind == Kind::flag) << c->name << " " << o.name;
      EXPECT_EQ(o.choices.empty(), o.kind != Kind::choice) << c->name << " " << o.name;
      EXPECT_NE(help_text(*c).find(o.name), std::string::npos);
    }
    for (size_t i = 0; i + 1 < c->arguments.size(); ++i) EXPECT_FALSE(c->arguments[i].many) << c->name;
    EXPECT_NE(help_text().find(c->name), std::string::npos);
    EXPECT_NE(man_page().find(fmt::format(".SS {}\n", c->name)), std::string::npos) << c->name;
    for (const char* shell : {"bash", "zsh", "fish"}) EXPECT_NE(completion_script(shell)->find(c->name), std::string::npos) << shell;
  }
}

}  // namespace
}  // namespace penstock
