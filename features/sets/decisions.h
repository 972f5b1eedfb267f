// What `set add NAME --stream` reads, for as long as it comes: lines as in element_stream.h, where a `-` in front of the
// prefix takes it out, or JSON as CrowdSec's local API writes it (GET /v1/decisions and /v1/decisions/stream):
//
//   { "new": [ { "value": "192.0.2.7", "scope": "Ip", "type": "ban", "duration": "3h59m57.5s" } ], "deleted": null }
//
// a list of such decisions, or one after another.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "features/sets/element_stream.h"

namespace penstock {

struct Decision {
  StreamedElement element;
  bool removed = false;
};

class DecisionReader {
 public:
  // `name` stands for the stream in messages.
  explicit DecisionReader(std::string name) : name_(std::move(name)) {}

  // Reads what is whole and keeps the rest for the next block.  `last`: nothing follows.
  void feed(std::string_view block, bool last);

  std::vector<Decision> take() { return std::exchange(decisions_, {}); }           // in order: the last one on a prefix counts
  std::vector<Diagnostic> take_refused() { return std::exchange(refused_, {}); }   // each names its line; what is refused alone
  size_t left_out() const { return left_out_; }   // decisions so far on no address, or that are no ban

 private:
  struct Scan {
    size_t seen = 0, depth = 0;
    bool quoted = false, escaped = false;
  };
  size_t end_of_document(std::string_view text, size_t begin);
  size_t document(size_t begin, bool last);
  void line(std::string_view text);
  void read_document(std::string_view text);
  void refuse(std::string message, std::string_view text, std::string hint = {});

  std::string name_, kept_;
  Scan scan_;             // of the document that kept_ begins with, as far as it is here
  uint32_t line_ = 1;
  std::vector<Decision> decisions_;
  std::vector<Diagnostic> refused_;
  size_t left_out_ = 0;
};

// A duration as Go prints it, "1h2m3.5s", rounded up; negative ones too.  nullopt: none.
std::optional<std::chrono::milliseconds> parse_go_duration(std::string_view text);

}  // namespace penstock
