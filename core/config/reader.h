// From text to a tree: strict YAML, where every node keeps its place and its words.
//
// Accepted is what a person writes by hand: one document of maps, lists and scalars.  Anchors, aliases, tags, merge keys,
// complex keys, directives and duplicate keys are refused.  No scalar has a type yet: the descriptors decide.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace penstock {

struct Node {
  enum class Kind : uint8_t { scalar, list, map };
  Kind kind = Kind::scalar;
  bool quoted = false;          // the scalar stood in quotes or is a block
  uint32_t line = 0, column = 0, width = 1;  // as in Location
  std::string text;             // of a scalar
  std::vector<Node> items;      // of a list; of a map: key, value, key, value, ...

  bool empty_value() const { return kind == Kind::scalar && !quoted && text.empty(); }  // `key:` with nothing behind it
  size_t entries() const { return items.size() / 2; }
  const Node& key(size_t i) const { return items[2 * i]; }
  const Node& value(size_t i) const { return items[2 * i + 1]; }
};

struct ReadLimits {
  size_t bytes = 32u << 20;     // of the file; large sets belong in files of their own
  unsigned depth = 32;
  bool quick = true;            // what is plain to see is read without libyaml (core/config/quick_reader.h)
};

class Document {
 public:
  Document(const std::string& file, std::string text) : file_(file), text_(std::move(text)) {}

  const std::string& file() const { return file_.text(); }
  const std::string& text() const { return text_; }
  Location at(const Node& node) const { return {file_, node.line, node.column, node.width}; }
  std::string line(uint32_t number) const;  // counted from 1, without its end; "" beyond the last
  // A diagnostic that points at a node, its source line filled.
  Diagnostic diagnostic(const Node& node, std::string message, std::string hint = {}) const;
  Diagnostic diagnostic(const Location& at, std::string message, std::string hint = {}) const;

  Node root;

 private:
  FileName file_;
  std::string text_;
};

// The whole content of a file.  Errors: unreadable, a directory, larger than limits.bytes.
Result<std::string> read_text(const std::string& path, const ReadLimits& limits = {});
// `file` is only named in messages.  Errors: not UTF-8, empty, not YAML, not strict (see above), beyond the limits.
Result<Document> parse_document(const std::string& file, std::string text, const ReadLimits& limits = {});

}  // namespace penstock
