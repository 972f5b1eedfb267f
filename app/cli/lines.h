// Lists of a million lines, written without holding them.
#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <iterator>
#include <string>
#include <utility>

namespace penstock {

// Lines for standard output, written block by block; what is left when it ends.
class Lines {
 public:
  Lines() = default;
  ~Lines() { flush(); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
    text_ += '\n';
    if (text_.size() > block) flush();
  }

 private:
  static constexpr size_t block = 64u << 10;
  void flush() {
    std::fwrite(text_.data(), 1, text_.size(), stdout);
    text_.clear();
  }
  std::string text_;
};

}  // namespace penstock
