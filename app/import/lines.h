// Files that are read line by line, word by word, with errors that point at the word.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "app/import/import.h"

namespace penstock::foreign {

struct Word {
  std::string text;
  uint32_t column = 1, width = 1;
  bool quoted = false;
};

class Lines {
 public:
  explicit Lines(const Source& source) : source_(source) {}

  bool next();                                // false: the file has ended
  std::string_view text() const { return text_; }   // of the line, without its end
  uint32_t number() const { return number_; }
  Place place() const;
  // The words of the line; none when it is empty or a comment.  "a \"b\"" is one word, as iptables-restore has it.
  Result<std::vector<Word>> words() const;
  Failure error(const Word& at, std::string message, std::string hint = {}) const;

 private:
  const Source& source_;
  std::string_view text_;
  size_t offset_ = 0;
  uint32_t number_ = 0;
};

}  // namespace penstock::foreign
