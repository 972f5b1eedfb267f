// What is generated from the descriptors, and the descriptors' own words.
#include "app/docs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "app/features.h"

namespace penstock {
namespace {

void for_each_table(const KeyTable& table, const std::function<void(const KeyTable&)>& visit) {
  visit(table);
  for (const Key& key : table.keys)
    if (key.shape.table) for_each_table(*key.shape.table, visit);
}

TEST(Docs, CommittedReferenceIsCurrent) {
  std::ifstream in(PENSTOCK_SOURCE "/docs/reference.md");
  std::stringstream committed;
  committed << in.rdbuf();
  EXPECT_TRUE(committed.str() == generate_reference()) << "stale: build the target `docs` and commit docs/reference.md";
}

TEST(Docs, EveryKeyIsDescribedOnceAndNoneIsBothBuiltAndUnbuilt) {
  for_each_table(*config_keys().table(), [](const KeyTable& table) {
    std::set<std::string> names;
    for (const Key& key : table.keys) {
      EXPECT_TRUE(names.insert(key.name).second) << key.name;
      EXPECT_TRUE(key.doc.description.ends_with('.')) << key.name;
      EXPECT_FALSE(key.doc.example.empty()) << key.name;
      EXPECT_FALSE(key.shape.schema.empty()) << key.name;
    }
    for (const std::string& name : table.unbuilt) EXPECT_TRUE(names.insert(name).second) << name;
  });
}

TEST(Docs, SchemaHasTheKeysOfADraft202012Schema) {
  const auto schema = generate_schema();
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["required"], nlohmann::json::array({"version"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  const auto& rule = schema["properties"]["policies"]["additionalProperties"]["properties"]["rules"]["items"];
  EXPECT_EQ(rule["required"], nlohmann::json::array({"name", "action"}));
  EXPECT_EQ(rule["properties"]["action"]["enum"], nlohmann::json::array({"accept", "drop", "reject", "continue"}));
  EXPECT_FALSE(rule["properties"].contains("mirror"));  // not built: no editor should offer it
}

TEST(Docs, ManPageNamesEveryKeyAndEveryLineOfItIsSafeForRoff) {
  const std::string page = generate_man_page();
  EXPECT_NE(page.find("\\fBto\\-port\\fR"), std::string::npos);
  const std::set<std::string> requests{".TH", ".SH", ".TP", ".B", ".I", ".br", ".PP", ".BR", ".\\\""};
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(!line.starts_with('.') || requests.contains(line.substr(0, line.find(' ')))) << line;
    EXPECT_FALSE(line.starts_with('\'')) << line;
  }
}

// Each documented example, put where it belongs in a file that is otherwise fine, is accepted.
TEST(Docs, EveryExampleIsAccepted) {
  const std::map<std::string, std::pair<std::string, std::string>> around{
      {"file", {"{", "}"}},
      {"interface", {"{ version: 1, interfaces: { wan: {", "} } }"}},
      {"guard", {"{ version: 1, interfaces: { wan: { match: eth0, wireguard: {", "} } } }"}},
      {"SYN proxy", {"{ version: 1, interfaces: { wan: { match: eth0, syn-proxy: {", "} } } }"}},
      {"receive", {"{ version: 1, interfaces: { wan: { match: eth0 } }, receive: {", "} }"}},
      {"set", {"{ version: 1, sets: { s: {", "} } }"}},
      {"policy", {"{ version: 1, interfaces: { wan: { match: eth0 } }, policies: { edge: {", "} } }"}},
      {"rule", {"{ version: 1, interfaces: { wan: { match: eth0 } }, policies: { edge: { attach: wan.ingress, rules: [ {", "} ] } } }"}},
      {"limit", {"{ version: 1, interfaces: { wan: { match: eth0 } }, policies: { edge: { attach: wan.ingress, rules: [ { name: a, action: drop, limit: {", "} } ] } } }"}},
      {"service", {"{ version: 1, interfaces: { wan: { match: eth0 } }, sets: { office: { prefixes: [10.0.0.0/8] } }, services: { s: {", "} } }"}},
      {"backend", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: {", "} } } } }"}},
      {"flow table", {"{ version: 1, interfaces: { wan: { match: eth0 } }, flows: {", "} }"}},
      {"health", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: {", "} } } }"}},
      {"tcp check", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: { tcp: {", "} } } } }"}},
      {"http check", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: { http: {", "} } } } }"}},
      {"https check", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: { https: {", "} } } } }"}},
      {"udp check", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: { udp: {", "} } } } }"}},
      {"exec check", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { s: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } }, health: { exec: {", "} } } } }"}},
      {"ban",
       {"{ version: 1, interfaces: { wan: { match: eth0 } }, policies: { edge: { attach: wan.ingress, rules: [ { name: a, action: drop, limit: { rate: 1/s, ban: {",
        "} } } ] } } }"}},
      {"service", {"{ version: 1, interfaces: { wan: { match: eth0 } }, sets: { office: { prefixes: [] } }, services: { web: {", "} } }"}},
      {"backend", {"{ version: 1, interfaces: { wan: { match: eth0 } }, services: { web: { frontend: 198.51.100.10:443/tcp, backends: { b1: {", "} } } } }"}},
      {"flow table", {"{ version: 1, interfaces: { wan: { match: eth0 } }, flows: {", "} }"}},
      {"test",
       {"{ version: 1, interfaces: { wan: { match: eth0 } }, policies: { edge: { attach: wan.ingress, rules: [ { name: web, action: drop } ] } }, "
        "tests: [ {", "} ] }"}}};
  for_each_table(*config_keys().table(), [&](const KeyTable& table) {
    ASSERT_TRUE(around.contains(table.title)) << "a new table: say here how its examples are tested: " << table.title;
    const auto& [before, after] = around.at(table.title);
    for (const Key& key : table.keys) {
      std::string text = before + fmt::format("{}: {}", key.name, key.doc.example);
      for (const Key& other : table.keys)
        if (other.required && other.name != key.name) text += fmt::format(", {}: {}", other.name, other.doc.example);
      if (table.title == "rule" && key.name.ends_with("-port")) text += ", proto: tcp";
      if (table.title == "set" && key.name == "counters") text += ", prefixes: []";
      if (table.title == "service" && !key.name.starts_with("frontend")) text += ", frontend: 198.51.100.10:443/tcp";
      if (key.name == "source-nat") text += ", mode: nat";
      if (table.title == "backend" && key.name == "port") text.insert(text.find("frontend"), "mode: nat, ");
      if (table.title == "health" && !std::set<std::string>{"tcp", "http", "https", "udp", "exec"}.contains(key.name)) text += ", tcp: {}";
      if (table.title == "https check" && key.name != "host") text += ", host: www.example.org";
      if (table.title == "file" && key.name != "interfaces") text += ", interfaces: { wan: { match: eth0 } }";
      const std::string folder = PENSTOCK_SOURCE "/tests/unit/config/files/";  // holds badnets.txt
      const auto config = load_config_text(folder + "node.yaml", text + after + "\n");
      EXPECT_TRUE(config) << text + after << "\n" << (config ? "" : config.error().message());
    }
  });
}

// The package's /etc/penstock/node.yaml: as it is it says nothing, uncommented it is a file that holds.
TEST(Docs, SampleUncommentedIsAFile) {
  const std::string sample = generate_sample();
  const auto nothing = load_config_text("node.yaml", sample);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().message(), "the file is empty: every line is blank or a comment");
  std::string text;
  size_t keys = 0;
  std::istringstream lines(sample);
  for (std::string line; std::getline(lines, line);) {
    ASSERT_TRUE(line.empty() || line[0] == '#') << line;
    const bool key = line.size() > 1 && line[1] != ' ';
    keys += key;
    text += (key ? line.substr(1) : line) + "\n";
  }
  EXPECT_EQ(keys, config_keys().table()->keys.size());
  const auto config = load_config_text("node.yaml", text);
  ASSERT_TRUE(config) << text << config.error().message();
}

}  // namespace
}  // namespace penstock
