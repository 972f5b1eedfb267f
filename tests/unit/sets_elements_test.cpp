// Files and streams of run-time elements.
#include <algorithm>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "features/sets/element_stream.h"
#include "features/sets/elements_file.h"

using namespace penstock;
using namespace penstock::sets;
using namespace std::chrono_literals;

namespace {

Prefix prefix(const char* text) { return parse_prefix(text).prefix; }

class Elements : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/penstock-elements-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    instance.state = name;
  }
  void TearDown() override { std::filesystem::remove_all(instance.state); }
  void write(const std::string& text) {
    std::filesystem::create_directories(instance.state + "/elements");
    std::ofstream(path()) << text;
  }
  std::string path() const { return elements_path(instance, "bad"); }
  Instance instance;
};

}  // namespace

TEST_F(Elements, FileIsReadBack) {
  ElementsFile file;
  file.number = 3;
  file.version = 77;
  file.elements = {{prefix("192.0.2.0/24"), 0}, {prefix("198.51.100.7"), 1795400000123}, {prefix("2001:db8::/32"), 5}};
  std::ranges::sort(file.elements, {}, &RunTimeElement::prefix);
  ASSERT_TRUE(write_elements_aside(path(), file));
  EXPECT_TRUE(sets_with_elements(instance).empty());  // not yet in its place
  ASSERT_TRUE(put_elements(path()));
  EXPECT_EQ(sets_with_elements(instance), std::vector<std::string>{"bad"});
  const auto read = read_elements(path());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->number, 3U);
  EXPECT_EQ(read->version, 77U);
  EXPECT_EQ(read->elements, file.elements);
  const auto header = read_elements_header(path());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->version, 77U);
}

TEST_F(Elements, NoFileIsNoElements) {
  const auto read = read_elements(path());
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->elements.empty());
  EXPECT_EQ(read_elements_header(path())->version, 0U);
}

TEST_F(Elements, DamagedFilesAreRefusedWithTheLine) {
  const struct {
    const char* text;
    unsigned line;
  } cases[] = {{"", 1}, {"rubbish\n", 1}, {"penstock-elements 1 3\n", 1}, {"penstock-elements 1 1024 5\n", 1},
               {"penstock-elements 1 3 5\n10.0.0.1 never\n10.0.0.1\n", 3}, {"penstock-elements 1 3 5\n10.0.0.1/8 never\n", 2},
               {"penstock-elements 1 3 5\n10.0.0.1 -4\n", 2}, {"penstock-elements 1 3 5\n10.0.0.1 nev", 2}};
  for (const auto& c : cases) {
    write(c.text);
    const auto read = read_elements(path());
    ASSERT_FALSE(read) << c.text;
    EXPECT_EQ(read.error().diagnostics[0].at.line, c.line) << c.text;
  }
}

TEST(ElementStream, ReadsPrefixesLifetimesAndComments) {
  const auto read = parse_element_text("# feed\n192.0.2.0/24\n\n  2001:db8::1 10m # for now\r\n198.51.100.7\t90s", "stream");
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 3U);
  EXPECT_EQ((*read)[0].prefix, prefix("192.0.2.0/24"));
  EXPECT_FALSE((*read)[0].lifetime);
  EXPECT_EQ((*read)[1].lifetime, 10min);
  EXPECT_EQ((*read)[2].lifetime, 90s);
}

TEST(ElementStream, OneBadLineRefusesAll) {
  const auto read = parse_element_text("192.0.2.0/24\n192.0.2.1/24\n1.2.3.4 soon\nx\n", "stream");
  ASSERT_FALSE(read);
  const Diagnostic& d = read.error().diagnostics[0];
  EXPECT_EQ(d.at.line, 2U);
  EXPECT_EQ(d.at.file, "stream");
  ASSERT_EQ(d.detail.size(), 1U);
  EXPECT_NE(d.detail[0].find("2 more"), std::string::npos);
  EXPECT_FALSE(parse_element_text("1.2.3.4 0s\n", "stream"));
  EXPECT_FALSE(parse_element_text("1.2.3.4 1m 2m\n", "stream"));
}

TEST(ElementStream, ReadsAPipeInPieces) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::string text;
    for (unsigned i = 0; i < 100'000; ++i) text += "10." + std::to_string(i >> 16 & 255) + "." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255) + "\n";
    for (size_t at = 0; at < text.size(); at += 997)
      if (write(ends[1], text.data() + at, std::min<size_t>(997, text.size() - at)) < 0) _exit(1);
    _exit(0);
  }
  close(ends[1]);
  const auto read = read_element_stream(ends[0], "stream");
  close(ends[0]);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 100'000U);
  for (unsigned i = 0; i < 100'000; ++i) ASSERT_EQ((*read)[i].prefix.address.v4(), 0x0a000000U + i);
}
