// The reader, the set files and the rendering of what they refuse.
#include "core/config/reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/config.h"
#include "core/base/diagnostic.h"
#include "core/base/utf8.h"
#include "core/config/duration.h"
#include "core/config/types.h"
#include "features/sets/set_file.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;

std::string refusal(const Result<Document>& result) { return result ? "accepted" : result.error().diagnostics[0].at.text() + " " + result.error().message(); }

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    const auto path = path_ / name;
    std::ofstream(path) << text;
    return path.string();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Reader, KeepsPlacesInCodePoints) {
  const auto document = parse_document("f", "a: \"ü\"\nb:\n  - x\n  - [1, yy]\n");
  ASSERT_TRUE(document);
  const Node& root = document->root;
  ASSERT_EQ(root.entries(), 2u);
  EXPECT_EQ(root.value(0).text, "ü");
  EXPECT_TRUE(root.value(0).quoted);
  EXPECT_EQ(root.value(0).width, 3u);
  const Node& yy = root.value(1).items[1].items[1];
  EXPECT_EQ(yy.text, "yy");
  EXPECT_EQ(document->at(yy), (Location{"f", 4, 9, 2}));
  EXPECT_EQ(document->line(4), "  - [1, yy]");
  EXPECT_EQ(document->line(5), "");
}

TEST(Reader, RefusesWhatIsNoText) {
  EXPECT_EQ(refusal(parse_document("f", "")), "f the file is empty: every line is blank or a comment");
  EXPECT_EQ(refusal(parse_document("f", "# only a comment\n")), "f the file is empty: every line is blank or a comment");
  EXPECT_EQ(refusal(parse_document("f", std::string("a: 1\nb\0c", 8))), "f:2 is a binary file");
  EXPECT_EQ(refusal(parse_document("f", "a: 1\n\nb: \xff\n")), "f:3 is not UTF-8 from here on");
  EXPECT_EQ(refusal(parse_document("f", "\xed\xa0\x80")), "f:1 is not UTF-8 from here on");  // a surrogate
  EXPECT_EQ(refusal(parse_document("f", "\xef\xbb\xbf" "a: 1\n")), "accepted");              // a byte order mark
  EXPECT_EQ(refusal(parse_document("f", "a: 1\r\nb: 2\r\n")), "accepted");
}

TEST(Reader, LimitsDepthAndSize) {
  std::string deep = "a: ";
  for (int i = 0; i < 100; ++i) deep += '[';
  EXPECT_EQ(refusal(parse_document("f", deep)), "f:1:36 nested more than 32 deep");
  const Folder folder;
  ReadLimits limits;
  limits.bytes = 10;
  const auto large = read_text(folder.write("large", "0123456789a"), limits);
  ASSERT_FALSE(large);
  EXPECT_EQ(*read_text(folder.write("fits", "0123456789"), limits), "0123456789");
}

TEST(Reader, SaysWhyAFileCannotBeRead) {
  const Folder folder;
  const auto config = load_config((folder.path() / "none.yaml").string());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message(), "cannot be read: No such file or directory");
  EXPECT_EQ(config.error().diagnostics[0].at.file, (folder.path() / "none.yaml").string());
  const auto directory = load_config(folder.path().string());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().message(), "is a directory");
}

TEST(SetFile, AMillionLinesWithOneBadOneAreRefusedWhole) {
  std::string text;
  constexpr uint32_t count = 1'000'000, bad = 777'777;
  for (uint32_t i = 1; i <= count; ++i) text += i == bad ? "10.0.0.256\n" : fmt::format("{}\n", Address::v4(0x0a000000 + i).text());
  const Folder folder;
  const auto refused = read_set_file(folder.write("million.txt", text));
  ASSERT_FALSE(refused);
  const Diagnostic& d = refused.error().diagnostics[0];
  EXPECT_EQ(d.at.line, bad);
  EXPECT_EQ(d.source_line, "10.0.0.256");
  EXPECT_TRUE(d.detail.empty());
  text.replace(text.find("10.0.0.256"), 10, "10.0.0.255");
  const auto read = read_set_file(folder.write("million.txt", text));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), count - 1);  // 10.0.0.255 is now there twice
  EXPECT_TRUE(std::ranges::is_sorted(*read));
}

TEST(SetFile, LinesMayCrossBlocks) {
  // Longer and longer comments put the addresses at every offset of the block's end.
  std::string text;
  std::vector<Prefix> expected;
  for (uint32_t i = 0; i < 4000; ++i) {
    expected.push_back({Address::v4(0xc6336400 + i), 128});
    text += expected.back().text() + " #" + std::string(i % 211, '-') + (i % 2 ? "\r\n" : "\n");
  }
  const Folder folder;
  const auto read = read_set_file(folder.write("blocks.txt", text));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, expected);
}

TEST(SetFile, ReadsAPipeToItsEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = "192.0.2.1\n2001:db8::/32";
  ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(ends[1]);
  const auto read = read_set_stream(ends[0], "standard input");
  close(ends[0]);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 2u);
}

TEST(SetFile, RefusesLinesWithoutEndAndBinaryFiles) {
  const Folder folder;
  const auto endless = read_set_file(folder.write("endless", std::string(3 << 20, 'x')));
  ASSERT_FALSE(endless);
  EXPECT_LE(endless.error().diagnostics[0].source_line.size(), 4096u);
  const auto binary = parse_set_text(std::string_view("10.0.0.1\n\0\n", 11), "f");
  ASSERT_FALSE(binary);
  EXPECT_EQ(binary.error().diagnostics[0].at.line, 2u);
  EXPECT_EQ(binary.error().message(), "is a binary file, not a list of prefixes");
}

TEST(Diagnostic, ShowsTheLineAndACaretBelowTheColumn) {
  Diagnostic d{"unknown key `form`", {"node.yaml", 12, 6, 4}, "\tü: {form: any}", "did you mean `from`?", {"more"}};
  EXPECT_EQ(render(d, Severity::error, false),
            "error: node.yaml:12:6: unknown key `form`\n"
            "  12 | \tü: {form: any}\n"
            "     | \t    ^~~~\n"
            "  hint: did you mean `from`?\n"
            "    more\n");
  EXPECT_NE(render(d, Severity::warning, true).find("\033["), std::string::npos);
  EXPECT_EQ(render(Diagnostic{"it failed"}, Severity::error, false), "error: it failed\n");
}

TEST(Diagnostic, CutsLongLinesAroundTheCaret) {
  std::string line(1000, 'a');
  line.replace(500, 3, "BAD");
  const std::string text = render({"wrong", {"f", 1, 501, 3}, line}, Severity::error, false);
  const size_t source = text.find("…"), caret = text.find('^');
  ASSERT_NE(source, std::string::npos);
  EXPECT_LT(text.size(), 400u);
  // The caret stands under the B: same distance, in code points, from the start of their lines.
  const size_t line_start = text.rfind('\n', source) + 1, caret_start = text.rfind('\n', caret) + 1;
  EXPECT_EQ(text.find("BAD") - line_start - 2, caret - caret_start);  // `…` has two bytes more than a blank
}

TEST(Diagnostic, NeverSendsControlCharactersToATerminal) {
  const std::string text = render({"bad \033[31m", {"f\a", 1, 1, 1}, "\x1b]0;x\x07\xff\xc2\x9b", "\b", {"\r"}}, Severity::error, false);
  for (char c : {'\033', '\a', '\b', '\r', '\xff'}) EXPECT_EQ(text.find(c), std::string::npos) << int{c};
  EXPECT_EQ(text.find("\xc2\x9b"), std::string::npos);
  EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
}

TEST(Diagnostic, JsonHoldsEveryPart) {
  const auto json = diagnostic_json({"m", {"f", 2, 3, 1}, "src", "h", {"d"}});
  EXPECT_EQ(json.dump(), R"({"message":"m","file":"f","line":2,"column":3,"hint":"h","detail":["d"]})");
  EXPECT_EQ(diagnostic_json({"m\xff"}).dump(), "{\"message\":\"m\xef\xbf\xbd\",\"file\":null,\"line\":null,\"column\":null,\"hint\":null,\"detail\":[]}");
}

TEST(Diagnostic, GuessesTheNearestWord) {
  const std::vector<std::string> words{"from", "to", "from-port", "to-port", "action"};
  EXPECT_EQ(nearest("form", words), "from");
  EXPECT_EQ(nearest("to_port", words), "to-port");
  EXPECT_EQ(nearest("Action", words), "action");
  EXPECT_EQ(nearest("acton", words), "action");
  EXPECT_EQ(nearest("zebra", words), "");
  EXPECT_EQ(nearest("", words), "");
  EXPECT_EQ(suggest("zebra", std::vector<std::string>{"a", "b"}), "use one of a, b");
}

TEST(Duration, ReadsUnitsInOrder) {
  EXPECT_EQ(parse_duration("10m"), 600s);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("1d1h1m1s1ms"), 24h + 1h + 1min + 1s + 1ms);
  EXPECT_EQ(parse_duration("90s"), 90s);
  EXPECT_EQ(parse_duration("0s"), 0s);
  EXPECT_EQ(parse_duration("3650d"), 24h * 3650);
  for (const char* bad : {"", "10", "m", "1x", "1m1h", "1m1m", "-1s", "1.5s", "1 s", "3651d", "99999999999999999999d", "1h30", "s1", "9223372036854775807ms"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(duration_text(90min), "1h30m");
  EXPECT_EQ(duration_text(1500ms), "1s500ms");
  EXPECT_EQ(duration_text(0ms), "0s");
}

// A key that one feature adds to the maps of another, decoded and found by its type.
TEST(Descriptors, ExtensionsAddKeysToAnotherFeature) {
  struct Sample {
    uint32_t every = 0;
  };
  struct Host {
    std::string name;
    Extensions extensions;
  };
  Type<Sample> type{{"number", {{"type", "integer"}}}, [](Decoder& d, const Node& node, Sample& out) { return number_type(1, 100).decode(d, node, out.every); }};
  const auto keys = Keys<Host>("host", "A host.").required("name", name_type("host"), &Host::name, {"Its name.", "a"}).extend({extension("sample", type, {"Every nth.", "7"})}, &Host::extensions);
  const auto decode = [&](const std::string& text, Host& host) {
    const auto document = parse_document("f", text);
    Decoder decoder(*document);
    return keys.decode(decoder, document->root, host);
  };
  Host with, without, wrong;
  ASSERT_TRUE(decode("{ name: a, sample: 7 }", with));
  ASSERT_TRUE(with.extensions.get<Sample>());
  EXPECT_EQ(with.extensions.get<Sample>()->every, 7u);
  ASSERT_TRUE(decode("name: a", without));
  EXPECT_FALSE(without.extensions.get<Sample>());
  EXPECT_FALSE(decode("{ name: a, sample: 101 }", wrong));
  EXPECT_TRUE(keys.table()->find("sample"));
}

}  // namespace
}  // namespace penstock
