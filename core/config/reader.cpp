#include "core/config/reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <unordered_map>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/config/quick_reader.h"

namespace penstock {
namespace {

// The pull parser of libyaml as a recursive descent, one event ahead of nothing.
class Parser {
 public:
  Parser(Document& document, std::string_view text, const ReadLimits& limits) : document_(document), limits_(limits) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Parser() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  Result<> run() {
    TRY(next());  // start of the stream
    TRY(next());
    if (event_.type == YAML_STREAM_END_EVENT) return fail(Diagnostic{"the file is empty: every line is blank or a comment", {document_.file()}, {}, "begin with `version: 1`"});
    if (event_.data.document_start.version_directive ||
        event_.data.document_start.tag_directives.start != event_.data.document_start.tag_directives.end)
      return refuse("YAML directives are not accepted", "remove the line that starts with `%`");
    TRY(next());
    TRY(node(document_.root, 0));
    TRY(next());  // end of the document
    TRY(next());
    if (event_.type != YAML_STREAM_END_EVENT) return refuse("a second document begins here", "one file holds one document");
    if (!duplicates_.diagnostics.empty()) return Failure(std::move(duplicates_));
    return {};
  }

 private:
  Result<> next() {
    yaml_event_delete(&event_);
    if (yaml_parser_parse(&parser_, &event_)) return {};
    if (parser_.error == YAML_MEMORY_ERROR) return fail("out of memory while reading YAML");
    const yaml_mark_t& mark = parser_.problem_mark;
    Location at{document_.file(), static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
    std::string_view source = document_.text();
    if (mark.index >= source.size()) at = end_of(source);  // the end of the file lies on no line that could be shown
    Diagnostic d = document_.diagnostic(at, fmt::format("no YAML: {}", parser_.problem ? parser_.problem : "unknown problem"));
    if (d.source_line.find('\t') != std::string::npos)
      d.hint = "indent with spaces, not tabs";
    else if (d.source_line.find(':') != std::string::npos)
      d.hint = "put words that begin with a special character or hold `: ` in quotes";
    if (parser_.context && parser_.context_mark.line != mark.line)
      d.detail.push_back(fmt::format("{}, begun at line {}", parser_.context, parser_.context_mark.line + 1));
    return fail(std::move(d));
  }

  // The last character of the text that is no blank.
  Location end_of(std::string_view text) const {
    text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
    const size_t start = text.rfind('\n') == text.npos ? 0 : text.rfind('\n') + 1;
    uint32_t line = 1, column = 0;
    for (char c : text) line += c == '\n';
    for (size_t i = start; i < text.size(); ++column) i += std::max<size_t>(1, utf8_length(text.substr(i)));
    return {document_.file(), line, std::max(column, 1u)};
  }

  void place(Node& node) const {
    const yaml_mark_t &start = event_.start_mark, &end = event_.end_mark;
    node.line = static_cast<uint32_t>(start.line + 1);
    node.column = static_cast<uint32_t>(start.column + 1);
    node.width = start.line == end.line && end.column > start.column ? static_cast<uint32_t>(end.column - start.column) : 1;
  }

  Failure refuse(std::string message, std::string hint) const {
    Node here;
    place(here);
    return fail(document_.diagnostic(here, std::move(message), std::move(hint)));
  }

  Result<> plain(const unsigned char* anchor, const unsigned char* tag) const {
    if (anchor) return refuse("anchors are not accepted", "write the value out where it is used");
    if (!tag) return {};
    const std::string name = reinterpret_cast<const char*>(tag);
    if (name.size() > 1 && name[0] == '!' && name[1] != '!')
      return refuse(fmt::format("`{}` is a YAML tag, and tags are not accepted", name), fmt::format("to negate, put it in quotes: \"{}\"", name));
    return refuse("tags are not accepted", "remove it: each key knows the type of its value");
  }

  // Reads the node that the current event begins, up to and including its last event.
  Result<> node(Node& out, unsigned depth) {
    place(out);
    if (depth > limits_.depth) return refuse(fmt::format("nested more than {} deep", limits_.depth), "no key of penstock needs that");
    switch (event_.type) {
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event_.data.scalar;
        TRY(plain(scalar.anchor, scalar.tag));
        out.text.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);
        out.quoted = scalar.style != YAML_PLAIN_SCALAR_STYLE;
        return {};
      }
      case YAML_SEQUENCE_START_EVENT:
        TRY(plain(event_.data.sequence_start.anchor, event_.data.sequence_start.tag));
        out.kind = Node::Kind::list;
        return list(out, depth);
      case YAML_MAPPING_START_EVENT: return map(out, depth);
      case YAML_ALIAS_EVENT: return refuse("aliases are not accepted", "write the value out where it is used");
      default: return refuse("unexpected YAML", "");
    }
  }

  Result<> list(Node& out, unsigned depth) {
    const size_t first = pending_.size();
    TRY(next());
    while (event_.type != YAML_SEQUENCE_END_EVENT) {
      TRY(item(depth + 1));
      TRY(next());
    }
    take_pending(first, out);
    return {};
  }

  // The items of maps and lists that are being read wait in one stack, so that each vector is made once and in its size.
  Result<> item(unsigned depth) {
    Node read;
    TRY(node(read, depth));
    pending_.push_back(std::move(read));
    return {};
  }
  void take_pending(size_t first, Node& out) {
    const auto begin = pending_.begin() + static_cast<std::ptrdiff_t>(first);
    out.items.assign(std::make_move_iterator(begin), std::make_move_iterator(pending_.end()));
    pending_.erase(begin, pending_.end());
  }

  Result<> map(Node& out, unsigned depth) {
    TRY(plain(event_.data.mapping_start.anchor, event_.data.mapping_start.tag));
    out.kind = Node::Kind::map;
    const size_t begin = pending_.size();
    TRY(next());
    while (event_.type != YAML_MAPPING_END_EVENT) {
      if (event_.type == YAML_ALIAS_EVENT) return refuse("aliases are not accepted", "write the value out where it is used");
      if (event_.type != YAML_SCALAR_EVENT) return refuse("a key must be a word", "");
      if (event_.data.scalar.length == 2 && std::string_view(reinterpret_cast<const char*>(event_.data.scalar.value), 2) == "<<")
        return refuse("merge keys are not accepted", "write the keys out where they are used");
      TRY(item(depth + 1));
      TRY(next());
      TRY(item(depth + 1));
      TRY(next());
    }
    take_pending(begin, out);
    refuse_duplicates(out);
    return {};
  }

  void refuse_duplicates(const Node& out) {
    constexpr size_t few = 24;  // a hash table is not worth its while
    if (out.entries() <= few) {
      bool fresh = true;
      for (size_t i = 0; i < out.entries(); ++i)
        for (size_t k = 0; k < i; ++k) fresh = fresh && out.key(i).text != out.key(k).text;
      if (fresh) return;
    }
    std::unordered_map<std::string_view, const Node*> seen;
    for (size_t i = 0; i < out.entries(); ++i) {
      const auto [first, fresh] = seen.emplace(out.key(i).text, &out.key(i));
      if (fresh || duplicates_.diagnostics.size() >= 20) continue;
      duplicates_.diagnostics.push_back(document_.diagnostic(out.key(i), fmt::format("duplicate key `{}`", out.key(i).text),
                                                             fmt::format("the first is at {}", document_.at(*first->second).text())));
    }
  }

  Document& document_;
  const ReadLimits& limits_;
  Error duplicates_;
  std::vector<Node> pending_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
};

uint32_t lines_before(std::string_view text, size_t offset) {
  uint32_t lines = 0;
  for (size_t i = 0; i < offset; ++i) lines += text[i] == '\n';
  return lines;
}

}  // namespace

std::string Document::line(uint32_t number) const {
  size_t start = 0;
  for (uint32_t i = 1; i < number; ++i) {
    start = text_.find('\n', start);
    if (start == std::string::npos) return {};
    ++start;
  }
  std::string out = text_.substr(start, text_.find('\n', start) - start);
  if (!out.empty() && out.back() == '\r') out.pop_back();
  return out;
}

Diagnostic Document::diagnostic(const Location& at, std::string message, std::string hint) const {
  return {std::move(message), at, at.line > 0 ? line(at.line) : std::string{}, std::move(hint)};
}
Diagnostic Document::diagnostic(const Node& node, std::string message, std::string hint) const {
  return diagnostic(at(node), std::move(message), std::move(hint));
}

Result<std::string> read_text(const std::string& path, const ReadLimits& limits) {
  const auto refuse = [&](std::string message, std::string hint = {}) { return fail(Diagnostic{std::move(message), {path}, {}, std::move(hint)}); };
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return refuse(fmt::format("cannot be read: {}", strerror(errno)));
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) return refuse(fmt::format("cannot be read: {}", strerror(errno)));
  if (S_ISDIR(info.st_mode)) return refuse("is a directory", "name the file in it");
  std::string text;
  constexpr size_t block = 1u << 16;
  text.reserve(std::min(static_cast<size_t>(info.st_size), limits.bytes) + 1);  // a pipe has no size, and a file may grow
  for (;;) {
    const size_t have = text.size();
    text.resize(have < text.capacity() ? text.capacity() : have + block);
    const ssize_t got = read(fd.get(), text.data() + have, text.size() - have);
    text.resize(have + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(fmt::format("cannot be read: {}", strerror(errno)));
    if (got == 0) return text;
    if (text.size() > limits.bytes)
      return refuse(fmt::format("is larger than {} MiB", limits.bytes >> 20), "put large sets in files of their own (`file:`)");
  }
}

Result<Document> parse_document(const std::string& file, std::string text, const ReadLimits& limits) {
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a byte order mark carries no meaning in UTF-8
  const size_t invalid = find_invalid_utf8(text);
  const size_t zero = text.find('\0');
  if (zero != std::string::npos) return fail(Diagnostic{"is a binary file", {file, lines_before(text, zero) + 1}, {}, "name a YAML file"});
  if (invalid != std::string::npos)
    return fail(Diagnostic{"is not UTF-8 from here on", {file, lines_before(text, invalid) + 1}, {}, "save the file as UTF-8"});
  Document document(file, std::move(text));
  if (limits.quick && read_quickly(document.text(), limits.depth, document.root)) return document;
  document.root = Node{};
  TRY(Parser(document, document.text(), limits).run());
  return document;
}

}  // namespace penstock
