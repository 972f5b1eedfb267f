#include "app/import/lines.h"

#include "core/base/utf8.h"

namespace penstock::foreign {

bool Lines::next() {
  if (offset_ >= source_.text.size()) return false;
  const std::string_view rest = std::string_view(source_.text).substr(offset_);
  const size_t end = rest.find('\n');
  text_ = rest.substr(0, end);
  if (text_.ends_with('\r')) text_.remove_suffix(1);
  offset_ += end == rest.npos ? rest.size() : end + 1;
  ++number_;
  return true;
}

Place Lines::place() const { return {source_.name, number_, printable(text_)}; }

Failure Lines::error(const Word& at, std::string message, std::string hint) const {
  return fail(Diagnostic{printable(message), {source_.name, number_, at.column, at.width}, std::string(text_), std::move(hint)});
}

Result<std::vector<Word>> Lines::words() const {
  std::vector<Word> out;
  uint32_t column = 1;
  bool within = false, open = false;
  Word quote;
  for (size_t i = 0; i < text_.size(); ++column) {
    const size_t length = utf8_length(text_.substr(i));
    if (!length) return error({"", column, 1}, "is not UTF-8 from here on", "save the file as UTF-8");
    const std::string_view one = text_.substr(i, length);
    i += length;
    if (one[0] == '\0') return error({"", column, 1}, "is a binary file");
    if (!open && (one == " " || one == "\t")) {
      within = false;
      continue;
    }
    if (!within && one == "#" && out.empty()) return out;
    if (!within) out.push_back({"", column, 0});
    within = true;
    Word& word = out.back();
    word.width = column - word.column + 1;
    if (one == "\"") {
      open = !open;
      word.quoted = true;
      quote = {"", column, 1};
    } else if (open && one == "\\" && i < text_.size() && static_cast<unsigned char>(text_[i]) < 0x80) {
      word.text += text_[i++];
      ++column;
    } else {
      word.text += one;
    }
  }
  if (open) return error(quote, "a quote is opened and never closed");
  return out;
}

}  // namespace penstock::foreign
