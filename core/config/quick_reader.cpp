#include "core/config/quick_reader.h"

#include <algorithm>
#include <iterator>

namespace penstock {
namespace {

constexpr size_t longest_key = 1000;  // libyaml looks 1024 characters ahead for a colon

bool is_word_begin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '/' || c == '+';
}
bool is_plain(char c) { return c >= 0x20 && c < 0x7f; }

// Every function returns false where it is not certain.
class QuickReader {
 public:
  QuickReader(std::string_view text, unsigned depth) : text_(text), deepest_(depth) {}

  bool run(Node& root) {
    if (!skip() || at_end()) return false;
    Node first;
    return word(first, false) && map(root, first, 0) && at_end();
  }

 private:
  bool at_end() const { return at_ == text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\n'; }
  size_t column() const { return at_ - line_start_; }
  bool blank_follows(size_t ahead) const { return peek(ahead) == ' ' || peek(ahead) == '\n'; }

  void place(Node& node, size_t begin, size_t end) const {
    node.line = line_;
    node.column = static_cast<uint32_t>(begin - line_start_ + 1);
    node.width = static_cast<uint32_t>(end - begin);
  }

  // Blanks, line ends and comments, up to the next word.
  bool skip() {
    for (;;) {
      while (!at_end() && text_[at_] == ' ') ++at_;
      if (at_end()) return true;
      if (text_[at_] == '#') {
        if (at_ > 0 && text_[at_ - 1] != ' ' && text_[at_ - 1] != '\n') return false;
        if (!comment()) return false;
        if (at_end()) return true;
      }
      if (text_[at_] != '\n') return true;
      ++at_;
      ++line_;
      line_start_ = at_;
    }
  }
  // A comment, to the end of the line.  Characters that end lines or are not allowed are left to libyaml.
  bool comment() {
    for (; !at_end() && text_[at_] != '\n'; ++at_) {
      const auto byte = static_cast<unsigned char>(text_[at_]), next = static_cast<unsigned char>(peek(1));
      if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && next < 0xa0) || (byte == 0xe2 && next == 0x80) || byte >= 0xe3) return false;
    }
    return true;
  }
  // As skip(), behind a value of a block, which must be the last in its line.
  bool end_line() {
    const uint32_t line = line_;
    return skip() && (at_end() || line_ != line);
  }

  // A word in this line.
  bool word(Node& out, bool flow) {
    const size_t begin = at_;
    const char first = peek();
    if (first == '"' || first == '\'') {
      ++at_;
      while (!at_end() && text_[at_] != first) {
        if (!is_plain(text_[at_]) || (first == '"' && text_[at_] == '\\')) return false;
        ++at_;
      }
      if (at_end()) return false;
      ++at_;
      if (first == '\'' && peek() == '\'') return false;
      out.quoted = true;
      out.text.assign(text_.substr(begin + 1, at_ - begin - 2));
      place(out, begin, at_);
      return true;
    }
    if (at_end() || !is_word_begin(first) || (column() == 0 && first == '.')) return false;
    size_t end = at_;  // behind the last that is no blank
    for (; !at_end() && text_[at_] != '\n'; ++at_) {
      const char c = text_[at_];
      if (!is_plain(c)) return false;
      if (c == ':' && blank_follows(1)) break;
      if (flow && (c == ',' || c == ']' || c == '}')) break;
      if (flow && (c == '[' || c == '{' || c == '?' || c == ':')) {
        const char next = peek(1);
        if (c != ':' || next == ',' || next == '[' || next == ']' || next == '{' || next == '}' || next == '?') return false;
      }
      if (c == '#' && text_[at_ - 1] == ' ') break;
      if (c != ' ') end = at_ + 1;
    }
    if (peek() == '#' && !at_end()) --at_;  // the comment has its blank before it
    out.text.assign(text_.substr(begin, end - begin));
    place(out, begin, end);
    return true;
  }

  // The colon directly behind a key.
  bool colon(const Node& key) {
    if (at_end() || text_[at_] != ':' || text_[at_ - 1] == ' ' || !blank_follows(1) || key.text.size() > longest_key || key.text == "<<") return false;
    ++at_;
    return true;
  }

  void take(size_t first, Node& out) {
    const auto begin = pending_.begin() + static_cast<std::ptrdiff_t>(first);
    out.items.assign(std::make_move_iterator(begin), std::make_move_iterator(pending_.end()));
    pending_.erase(begin, pending_.end());
  }
  bool take_map(size_t first, Node& out) {
    out.kind = Node::Kind::map;
    take(first, out);
    constexpr size_t few = 64;
    if (out.entries() > few) {
      std::vector<std::string_view> keys;
      for (size_t i = 0; i < out.entries(); ++i) keys.push_back(out.key(i).text);
      std::ranges::sort(keys);
      return std::ranges::adjacent_find(keys) == keys.end();
    }
    for (size_t i = 0; i < out.entries(); ++i)
      for (size_t k = 0; k < i; ++k)
        if (out.key(i).text == out.key(k).text) return false;
    return true;
  }

  // From a bracket up to behind its partner.
  bool flow(Node& out, unsigned depth) {
    if (depth > deepest_) return false;
    const bool is_map = peek() == '{';
    const char close = is_map ? '}' : ']';
    const size_t first = pending_.size();
    place(out, at_, at_ + 1);
    ++at_;
    if (!skip()) return false;
    while (peek() != close || at_end()) {
      if (is_map) {
        Node key;
        if (depth + 1 > deepest_ || !word(key, true) || !colon(key) || !skip()) return false;
        pending_.push_back(std::move(key));
      }
      Node item;
      if (!flow_value(item, depth + 1) || !skip()) return false;
      pending_.push_back(std::move(item));
      if (at_end()) return false;
      if (peek() == close) break;
      if (peek() != ',') return false;
      ++at_;
      if (!skip() || at_end() || peek() == close) return false;
    }
    ++at_;
    if (is_map) return take_map(first, out);
    out.kind = Node::Kind::list;
    take(first, out);
    return true;
  }
  bool flow_value(Node& out, unsigned depth) {
    if (depth > deepest_) return false;
    return peek() == '{' || peek() == '[' ? flow(out, depth) : word(out, true) && (at_end() || text_[at_] != ':');
  }

  // A block map whose first key was read already; the others stand in the same column.
  bool map(Node& out, Node& first_key, unsigned depth) {
    if (depth > deepest_) return false;
    const size_t first = pending_.size(), column_of_keys = first_key.column - 1;
    place(out, line_start_ + column_of_keys, line_start_ + column_of_keys + 1);
    Node key = std::move(first_key);
    for (;;) {
      Node value;
      if (depth + 1 > deepest_ || !colon(key) || !value_of(value, column_of_keys, depth + 1)) return false;
      pending_.push_back(std::move(key));
      pending_.push_back(std::move(value));
      if (at_end() || column() < column_of_keys) break;
      if (column() > column_of_keys) return false;
      key = Node{};
      if (!word(key, false)) return false;
    }
    return take_map(first, out);
  }

  // What stands behind the colon of a key in `column_of_key`, in its line or below.
  bool value_of(Node& out, size_t column_of_key, unsigned depth) {
    if (depth > deepest_) return false;
    const uint32_t line = line_;
    if (!skip() || at_end()) return false;
    if (line_ == line) return value(out, depth) && end_line() && !continues(column_of_key);
    if (peek() == '-' && blank_follows(1)) return column() >= column_of_key && list(out, depth);
    Node key;
    if (column() <= column_of_key || !word(key, false)) return false;
    return map(out, key, depth);
  }
  bool value(Node& out, unsigned depth) {
    return peek() == '{' || peek() == '[' ? flow(out, depth) : word(out, false) && (at_end() || text_[at_] != ':');
  }
  // Might what comes belong to the word before it?
  bool continues(size_t column_of_parent) const { return !at_end() && column() > column_of_parent; }

  // A block list, at its first dash.
  bool list(Node& out, unsigned depth) {
    if (depth > deepest_) return false;
    const size_t first = pending_.size(), column_of_dashes = column();
    out.kind = Node::Kind::list;
    place(out, at_, at_ + 1);
    while (!at_end() && column() == column_of_dashes && peek() == '-' && peek(1) == ' ') {
      const uint32_t line = line_;
      ++at_;
      if (depth + 1 > deepest_ || !skip() || at_end() || line_ != line) return false;
      Node item;
      if (peek() == '{' || peek() == '[') {
        if (!flow(item, depth + 1) || !end_line()) return false;
      } else {
        Node read;
        if (!word(read, false)) return false;
        if (!at_end() && text_[at_] == ':') {
          if (!map(item, read, depth + 1)) return false;
        } else {
          item = std::move(read);
          if (!end_line() || continues(column_of_dashes)) return false;
        }
      }
      pending_.push_back(std::move(item));
    }
    take(first, out);
    return at_end() || column() <= column_of_dashes;
  }

  std::string_view text_;
  unsigned deepest_;
  size_t at_ = 0, line_start_ = 0;
  uint32_t line_ = 1;
  std::vector<Node> pending_;
};

}  // namespace

bool read_quickly(std::string_view text, unsigned depth, Node& root) { return QuickReader(text, depth).run(root); }

}  // namespace penstock
