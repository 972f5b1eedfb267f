// What is read without libyaml is read as libyaml reads it: files of this repository, written in many ways, and both of
// these with bytes changed at random.  Where it is not certain it says so; that it is certain often enough is tested too.
#include "core/config/quick_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/base/utf8.h"

namespace penstock {
namespace {

std::string told(const Node& node) {
  std::string out = fmt::format("{}{}:{}+{}", node.kind == Node::Kind::scalar ? 's' : node.kind == Node::Kind::list ? 'l' : 'm', node.line, node.column, node.width);
  if (node.kind == Node::Kind::scalar) return out + (node.quoted ? "'" : "<") + node.text + '>';
  out += '(';
  for (const Node& item : node.items) out += told(item) + ' ';
  return out + ')';
}

enum class Outcome { left, same, different };
Outcome compare(const std::string& text, std::string& why) {
  Node quick;
  if (find_invalid_utf8(text) != std::string::npos || !read_quickly(text, 32, quick)) return Outcome::left;
  const auto document = parse_document("x", text, {.quick = false});
  const std::string expected = document ? told(document->root) : "refused: " + document.error().message();
  if (told(quick) == expected) return Outcome::same;
  why = fmt::format("text:\n{}\nquick: {}\nlibyaml: {}", text, told(quick), expected);
  return Outcome::different;
}

std::vector<std::string> corpus() {
  std::vector<std::string> out = {
      "a: b\n", "a: b", "a: [b, c]\nd: {e: f, \"g\": 'h'}\n", "a:\n  b: c # d\n  e:\n    - f\n    - g: h\n      i: j\n    - {k: l}\nm:\n- n\n- o\np: q\n",
      "# x\n\na : b\n", "a: b: c\n", "a:\nb: c\n", "a: b\n  c\n", "a: {b, c: d}\n", "a: [b: c]\n", "a: [b, ]\n", "a: {b: c,\n d: e}\nf: g\n", "a: 'b''c'\n",
      "a: \"b\\n\"\n", "a: fe80::1\nb: [fe80::2, ::3]\nc: x:y\n", "a: b#c\nd: e #f\n", "a: [b#c, d #e\n ]\n", "- a\n- b\n", "a: b\n---\nc: d\n", "a: b\n...\n", "a: [\n...\n]\n",
      "a: &b c\n", "a: *b\n", "a: !c d\n", "? a\n: b\n", "a: |\n  b\n", "<<: {a: b}\n", "a: b\na: c\n", "  a: b\n  c: d\n", " a: b\nc: d\n", "a:\n  - b\n c: d\n", "a:\n   - b\n   -  c:  d\n      e: f\n",
      "a:\tb\n", "a: b\r\nc: d\n", "a: \xc3\xa4\n", "a: b # \xc3\xa4\n", "a: b # \xe2\x80\xa8 c: d\n", "a: []\nb: {}\n", "a: b c  d   # e\n", "a: {b: c d, e: 'f g'}\n", "a: 'b' 'c'\n", "a: [b] c\n",
      "a: {b: [c, {d: e}], f: \"g: h\"}\n", "a:\n  b: c\n    d: e\n", "\"a\": b\n'c': d\n", "a: 1-2\nb: 10ms\nc: 192.0.2.0/24\n", "a: - b\n", "a:\n- b: c\n  d: e\n- f\ng: h\n", "a: [b\n, c]\n", "a: {b: c\n}\n", "a: b?c\nd: [e?f]\n",
  };
  for (const char* folder : {"examples", "tests/unit/config", "tests/packet"})
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(PENSTOCK_SOURCE) / folder))
      if (entry.path().extension() == ".yaml")
        if (auto text = read_text(entry.path())) out.push_back(std::move(*text));
  return out;
}

TEST(QuickReader, ReadsAsLibyamlDoes) {
  size_t same = 0;
  std::string why;
  const auto texts = corpus();
  ASSERT_GT(texts.size(), 80u);
  for (const std::string& text : texts) {
    const Outcome outcome = compare(text, why);
    ASSERT_NE(outcome, Outcome::different) << why;
    same += outcome == Outcome::same;
  }
  EXPECT_GT(same, texts.size() / 2);
}

TEST(QuickReader, ReadsAsLibyamlDoesWithBytesChanged) {
  const char* more = std::getenv("PENSTOCK_CHANGES");
  const size_t changes = more ? std::strtoul(more, nullptr, 10) : 100'000;
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  auto texts = corpus();
  std::erase_if(texts, [](const std::string& text) { return text.size() > 4000; });
  constexpr std::string_view bytes = "  \n\n:,-#[]{}'\"?&*!|>%@`<.ab1\t\\\r\x85";
  size_t same = 0;
  std::string why;
  for (size_t i = 0; i < changes; ++i) {
    std::string text = texts[random() % texts.size()];
    for (size_t k = random() % 3 + 1; k > 0 && !text.empty(); --k) {
      const size_t at = random() % text.size();
      const char byte = bytes[random() % bytes.size()];
      switch (random() % 4) {
        case 0: text.insert(at, 1, byte); break;
        case 1: text.erase(at, random() % 3 + 1); break;
        case 2: text[at] = byte; break;
        default: {
          const size_t from = random() % text.size();
          text.insert(at, text.substr(from, random() % 12));
        }
      }
    }
    const Outcome outcome = compare(text, why);
    ASSERT_NE(outcome, Outcome::different) << "seed " << seed << ", change " << i << "\n" << why;
    same += outcome == Outcome::same;
  }
  EXPECT_GT(same, changes / 10) << "seed " << seed;
}

}  // namespace
}  // namespace penstock
