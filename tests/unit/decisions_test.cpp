// The stream of `set add --stream`: lines and CrowdSec's JSON, cut anywhere.
#include "features/sets/decisions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

// "+PREFIX ms" or "-PREFIX" for each decision, "!LINE message" for each refusal.
std::string read(std::string_view text, size_t step = 1u << 20) {
  DecisionReader reader("in");
  std::string out;
  for (size_t at = 0; at < text.size(); at += step) reader.feed(text.substr(at, step), at + step >= text.size());
  for (const Decision& d : reader.take()) {
    out += fmt::format("{}{}", d.removed ? '-' : '+', d.element.prefix.text());
    if (d.element.lifetime) out += fmt::format(" {}", d.element.lifetime->count());
    out += '\n';
  }
  for (const Diagnostic& d : reader.take_refused()) out += fmt::format("!{} {}\n", d.at.line, d.message);
  if (reader.left_out() > 0) out += fmt::format("left out {}\n", reader.left_out());
  return out;
}

TEST(Decisions, Lines) {
  EXPECT_EQ(read("192.0.2.7 10m\n# nothing\n\n-2001:db8::/32\n 203.0.113.0/24\n"), "+192.0.2.7 600000\n-2001:db8::/32\n+203.0.113.0/24\n");
  EXPECT_EQ(read("192.0.2.7"), "+192.0.2.7\n") << "the last line needs no end";
}

TEST(Decisions, CrowdSecsStream) {
  const std::string text = R"({"deleted":[{"duration":"-1h2m","id":1,"origin":"cscli","scenario":"x","scope":"Ip","type":"ban","value":"198.51.100.9"}],
 "new":[{"duration":"3h59m57.5s","scope":"Ip","type":"ban","value":"192.0.2.7"},
        {"duration":"4h0m0s","scope":"Range","type":"ban","value":"2001:db8:1::/48"},
        {"duration":"4h","scope":"Country","type":"ban","value":"XX"},
        {"duration":"4h","scope":"Ip","type":"captcha","value":"192.0.2.8"},
        {"duration":"4h","scope":"Ip","type":"ban","value":"192.0.2.9","simulated":true},
        {"duration":"-3s","scope":"Ip","type":"ban","value":"192.0.2.10"}]}
{"new":null,"deleted":null}
)";
  const std::string want = "-198.51.100.9\n+192.0.2.7 14397500\n+2001:db8:1::/48 14400000\n-192.0.2.10\nleft out 3\n";
  for (const size_t step : {text.size(), size_t{1}, size_t{7}, size_t{100}}) EXPECT_EQ(read(text, step), want) << step;
}

TEST(Decisions, ListsAndSingleOnes) {
  EXPECT_EQ(read(R"([{"value":"192.0.2.7"},{"value":"192.0.2.8","duration":"90s"}] {"value":"192.0.2.9"}192.0.2.10)"),
            "+192.0.2.7\n+192.0.2.8 90000\n+192.0.2.9\n+192.0.2.10\n");
  EXPECT_EQ(read(R"({"value":"192.0.2.7","note":"a \"}\" in a text"})"), "+192.0.2.7\n");
}

TEST(Decisions, WhatIsBadIsNamedByItsLineAndTheRestIsTaken) {
  EXPECT_EQ(read("192.0.2.7\n192.0.2.300\n192.0.2.8\n"), "+192.0.2.7\n+192.0.2.8\n!2 `192.0.2.300` is no address or prefix\n");
  EXPECT_EQ(read("\n{ nonsense }\n192.0.2.8\n"), "+192.0.2.8\n!2 this is no JSON\n");
  EXPECT_EQ(read("192.0.2.7\n\n  {\"value\": \"192.0.2.9\","), "+192.0.2.7\n!3 the stream ends within a JSON document\n");
  EXPECT_EQ(read("[{\"value\":\"192.0.2.7\",\"duration\":\"soon\"}]\n{\"values\":1}\n[7]\n{\"new\":7}\n"),
            "!1 `soon` is no duration\n!2 a decision without a `value`\n!3 a decision without a `value`\n!4 a decision without a `value`\n");
}

TEST(Decisions, DurationsOfGo) {
  const auto ms = [](std::string_view text) { const auto d = parse_go_duration(text); return d ? d->count() : -999'999; };
  EXPECT_EQ(ms("0"), 0);
  EXPECT_EQ(ms("0s"), 0);
  EXPECT_EQ(ms("1h2m3.5s"), 3'723'500);
  EXPECT_EQ(ms("1.5h"), 5'400'000);
  EXPECT_EQ(ms("100us"), 1) << "rounded up: a lifetime of 0 would be for ever";
  EXPECT_EQ(ms("-2m"), -120'000);
  for (const char* bad : {"", "-", "h", "5", "5x", "1h-2m", "--1s", "1e3s", "nan s", "99999999h"}) EXPECT_EQ(ms(bad), -999'999) << bad;
}

}  // namespace
}  // namespace penstock
