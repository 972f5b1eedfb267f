// `penstock ban`: what it refuses before it looks at anything that runs.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/cli/command.h"

namespace penstock {
namespace {

// The first error of a command line that fits the descriptor and is wrong usage even so.
std::string refusal(const std::vector<std::string>& words) {
  const auto parsed = parse_arguments(command_ban, words);
  if (!parsed) return "does not parse: " + parsed.error().message();
  Output out("penstock/ban/1", true, false);
  testing::internal::CaptureStdout();
  const int code = command_ban.run({command_ban, parsed->globals, out, parsed->options, parsed->arguments});
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, static_cast<int>(Exit::usage)) << text;
  return nlohmann::json::parse(text).at("errors").at(0).at("message");
}

TEST(Ban, ListAndFlushTakeNoAddresses) {
  EXPECT_EQ(refusal({"list", "192.0.2.7"}), "ban list takes no addresses");
  EXPECT_EQ(refusal({"flush", "192.0.2.7"}), "ban flush takes no addresses");
}

TEST(Ban, OnlyAddTakesATime) {
  for (const char* action : {"list", "del", "flush"}) EXPECT_EQ(refusal({action, "--for", "1h"}), "--for belongs to `ban add`") << action;
  EXPECT_EQ(refusal({"add", "192.0.2.7", "--for", "soon"}), "`soon` is no duration");
  EXPECT_EQ(refusal({"add", "192.0.2.7", "--for", "0s"}), "`0s` is no duration");
}

TEST(Ban, AddAndDelNameAddresses) {
  for (const char* action : {"add", "del"}) {
    EXPECT_EQ(refusal({action}), "which addresses?") << action;
    EXPECT_EQ(refusal({action, "192.0.2.7", "192.0.2.256"}), "`192.0.2.256` is no address") << action;
    EXPECT_EQ(refusal({action, "example.org"}), "`example.org` is no address") << action;
  }
}

TEST(Ban, ActionsAreTheFourThatThereAre) {
  EXPECT_FALSE(parse_arguments(command_ban, std::vector<std::string>{"pardon", "192.0.2.7"}));
  for (const char* action : {"list", "add", "del", "flush"}) EXPECT_TRUE(parse_arguments(command_ban, std::vector<std::string>{action})) << action;
}

}  // namespace
}  // namespace penstock
