// What a command says: text for people or JSON for programs, never both.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace penstock {

using Json = nlohmann::ordered_json;

enum class Style { bold, dim, good, warning, bad };

class Output {
 public:
  // `schema` names the JSON: "penstock/status/1".
  Output(std::string schema, bool json, bool color) : schema_(std::move(schema)), json_(json), color_(color) {}

  bool is_json() const { return json_; }
  bool color() const { return color_; }

  void print(std::string_view text) const;             // people only: as it is, to standard output
  void json(const Json& object) const;                 // programs only: one object with "schema" as its first key
  void json_line(const Json& object) const;            // programs only: one object on one line as it is, for streams
  void warn(const Diagnostic& diagnostic) const;       // people: standard error; programs: left to the object
  // Renders an error (people: standard error; programs: an object with "errors" on standard output) and returns the
  // exit code, so that a command can end with it.
  int fail(const Error& error) const;

  std::string styled(Style style, std::string_view text) const;  // the text itself where there is no colour

 private:
  std::string schema_;
  bool json_;
  bool color_;
};

// One line on standard error that says how far something is, on a terminal only and only once a second has passed.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();                                  // wipes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(uint64_t done, uint64_t total);   // total 0: unknown

 private:
  std::string what_;
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace penstock
