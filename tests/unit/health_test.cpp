// `health` as it is written, and who stays in use.
#include "features/services/health.h"

#include <gtest/gtest.h>

#include "core/config/types.h"
#include "features/services/health_keys.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;

struct Read {
  std::optional<Health> health;
  std::vector<Diagnostic> errors;
};
Read read(const std::string& text) {
  auto document = parse_document("node.yaml", "health: " + text + "\n");
  EXPECT_TRUE(document) << text;
  if (!document) return {};
  Decoder decoder(*document);
  Health health;
  const bool good = health_type().decode(decoder, document->root.value(0), health);
  auto finished = decoder.finish();
  EXPECT_EQ(good, finished.has_value()) << text;
  if (good) return {health, {}};
  return {std::nullopt, finished ? std::vector<Diagnostic>() : finished.error().diagnostics};
}

void refused(const std::string& text, uint32_t column, const std::string& message) {
  const Read r = read(text);
  ASSERT_EQ(r.errors.size(), 1u) << text;
  EXPECT_EQ(r.errors[0].at.line, 1u);
  EXPECT_EQ(r.errors[0].at.column, column) << text << ": " << r.errors[0].message;
  EXPECT_EQ(r.errors[0].message, message);
}

TEST(Health, Defaults) {
  const Read r = read("{ tcp: {} }");
  ASSERT_TRUE(r.health);
  EXPECT_TRUE(std::holds_alternative<TcpCheck>(r.health->check));
  EXPECT_EQ(r.health->interval, 2s);
  EXPECT_EQ(r.health->timeout, 1s);
  EXPECT_EQ(r.health->rise, 2u);
  EXPECT_EQ(r.health->fall, 3u);
  EXPECT_EQ(r.health->slow_start, 0s);
  EXPECT_EQ(r.health->damping, 5min);
  EXPECT_FALSE(r.health->port);
}

TEST(Health, EveryKind) {
  const Read http = read("{ http: { path: /ready, host: www.example.org, status: [200, 301-302], body: fine }, port: 8080, interval: 500ms, rise: 1, fall: 4, slow-start: 30s, damping: 0s }");
  ASSERT_TRUE(http.health);
  const auto& h = std::get<HttpCheck>(http.health->check);
  EXPECT_EQ(h.path, "/ready");
  EXPECT_EQ(h.host, "www.example.org");
  EXPECT_EQ(h.body, "fine");
  EXPECT_EQ(h.status, (std::vector<NumberRange>{{200, 200}, {301, 302}}));
  EXPECT_FALSE(h.tls);
  EXPECT_EQ(http.health->port, 8080);
  EXPECT_EQ(http.health->timeout, 250ms);
  EXPECT_EQ(http.health->slow_start, 30s);
  EXPECT_EQ(http.health->damping, 0s);

  const Read https = read("{ https: { host: www.example.org } }");
  ASSERT_TRUE(https.health);
  EXPECT_TRUE(std::get<HttpCheck>(https.health->check).tls);
  EXPECT_TRUE(std::get<HttpCheck>(https.health->check).verify);
  EXPECT_EQ(std::get<HttpCheck>(https.health->check).status, (std::vector<NumberRange>{{200, 399}}));
  ASSERT_TRUE(read("{ https: { verify: no } }").health);

  const Read udp = read("{ udp: { send: \"hex:00ff0A\", expect: pong } }");
  ASSERT_TRUE(udp.health);
  EXPECT_EQ(std::get<UdpCheck>(udp.health->check).send, std::string("\0\xff\n", 3));
  EXPECT_EQ(std::get<UdpCheck>(udp.health->check).expect, "pong");

  const Read exec = read("{ exec: { command: [/bin/true, -x] } }");
  ASSERT_TRUE(exec.health);
  EXPECT_EQ(std::get<ExecCheck>(exec.health->check).command, (std::vector<std::string>{"/bin/true", "-x"}));
  EXPECT_FALSE(exec.health->needs_port());
}

// Columns count from the `h` of `health: `.
TEST(Health, WrongValuesPointAtThemselves) {
  refused("{ interval: 2s }", 9, "what is checked is missing");
  refused("{ tcp: {}, udp: { send: x } }", 9, "one check, please");
  refused("{ tcp: {}, interval: 10ms }", 30, "`10ms` is not between 100ms and 1h");
  refused("{ tcp: {}, timeout: 1500ms }", 29, "with this timeout a backend that falls silent would not have failed within 6s, interval × fall");
  refused("{ tcp: {}, fall: 1, timeout: 1001ms }", 38, "with this timeout a backend that falls silent would not have failed within 2s, interval × fall");
  refused("{ tcp: {}, timeout: 5ms }", 29, "`5ms` is too short");
  refused("{ tcp: {}, rise: 0 }", 26, "`0` is not a number from 1 to 100");
  refused("{ tcp: {}, slow-start: 500ms }", 32, "a slow start takes at least 1s");
  refused("{ tcp: {}, damping: 25h }", 29, "`1d1h` is not between 0s and 1d");
  refused("{ tcp: { send: x } }", 18, "unknown key `send` in this tcp check");
  refused("{ http: { path: ready } }", 25, "`ready` is no path of a URL");
  refused("{ http: { host: \"a b\" } }", 25, "`a b` is no host name");
  refused("{ http: { status: 600 } }", 27, "`600` is no status code");
  refused("{ http: { status: 299-200 } }", 27, "`299-200` is no status code");
  refused("{ https: {} }", 18, "the certificate can be checked only for a name");
  refused("{ https: { verify: no, authorities: /x } }", 18, "`authorities` without `verify` trusts nobody and everybody");
  refused("{ https: { host: a, authorities: x } }", 18, "`authorities` needs an absolute path");
  refused("{ udp: { expect: x } }", 16, "`send` is missing in this udp check");
  refused("{ udp: { send: \"hex:0\" } }", 24, "bytes are pairs of hexadecimal digits");
  refused("{ udp: { send: \"hex:\" } }", 24, "these are no bytes at all");
  refused("{ exec: { command: [check] } }", 17, "`command` begins with an absolute path");
  refused("{ exec: { command: [/bin/true] }, port: 80 }", 49, "a command finds its port by itself");
}

TEST(Health, TextTellsAnyTwoApart) {
  const std::vector<std::string> all{"{ tcp: {} }", "{ tcp: {}, port: 80 }", "{ tcp: {}, rise: 3 }", "{ tcp: {}, fall: 4 }", "{ tcp: {}, interval: 3s }", "{ tcp: {}, timeout: 500ms }", "{ tcp: {}, slow-start: 9s }",
                                     "{ tcp: {}, damping: 9s }", "{ http: {} }", "{ http: { path: /a } }", "{ http: { host: a } }", "{ http: { body: a } }", "{ http: { status: 200 } }", "{ https: { host: a } }",
                                     "{ https: { host: a, verify: no } }", "{ https: { host: a, authorities: /a } }", "{ udp: { send: a } }", "{ udp: { send: b } }", "{ udp: { send: a, expect: a } }",
                                     "{ exec: { command: [/a, b c] } }", "{ exec: { command: [/a, b, c] } }"};
  std::map<std::string, std::string> seen;
  for (const std::string& text : all) {
    const Read r = read(text);
    ASSERT_TRUE(r.health) << text;
    const auto [at, fresh] = seen.emplace(health_text(*r.health), text);
    EXPECT_TRUE(fresh) << text << " and " << at->second << ": " << at->first;
    EXPECT_EQ(*r.health, *read(text).health);
  }
}

std::string used(std::initializer_list<Standing> backends, uint32_t least) {
  const std::vector<Standing> all(backends);
  std::string out;
  for (const bool kept : kept_in_use(all, least)) out += kept ? 'k' : '.';
  return out;
}
constexpr Standing up{true, false, 0}, off{false, false, 0}, off_and_failed{false, true, 99};
constexpr Standing failed(int64_t since) { return {true, true, since}; }

TEST(MinBackends, ThoseThatFailedLastFillUpTheNumber) {
  EXPECT_EQ(used({up, up, failed(5)}, 2), "...");
  EXPECT_EQ(used({up, failed(7), failed(5)}, 2), ".k.");
  EXPECT_EQ(used({up, failed(5), failed(7)}, 2), "..k");
  EXPECT_EQ(used({failed(6), failed(5), failed(7)}, 1), "..k");
  EXPECT_EQ(used({failed(6), failed(5), failed(7)}, 0), "...");
  EXPECT_EQ(used({failed(6), failed(5), failed(7)}, 9), "kkk");
  EXPECT_EQ(used({failed(5), failed(5), failed(5)}, 2), "kk.");
}
TEST(MinBackends, WhoWasTakenOutByPeopleNeitherCountsNorComesBack) {
  EXPECT_EQ(used({off, up, failed(5)}, 2), "..k");
  EXPECT_EQ(used({off_and_failed, up, failed(5)}, 3), "..k");
}

}  // namespace
}  // namespace penstock
