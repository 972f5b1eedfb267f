// What decoding a tree needs besides the tree: a place for errors and warnings, and the names that one part of the file
// defines and another refers to.  Features know each other's things only by kind and name ("set", "badnets").
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/config/reader.h"

namespace penstock {

class Decoder {
 public:
  static constexpr size_t most_errors = 20;  // reported in one run; the rest is counted

  explicit Decoder(const Document& document) : document_(document) {}

  const Document& document() const { return document_; }
  Location at(const Node& node) const { return document_.at(node); }
  // A path of the file as it is opened: relative ones start at the folder of the file that names them.
  std::string resolve_path(const std::string& path) const;
  // A folder with copies of the files that this one names, each under the name of what it belongs to: a kept revision.
  void read_copies_from(std::string folder) { copies_ = std::move(folder); }
  std::string path_to_read(const std::string& name, const std::string& path) const { return copies_.empty() ? path : copies_ + "/" + name; }

  // Each returns false, so that a decoding function can end with `return decoder.error(...)`.
  bool error(const Node& node, std::string message, std::string hint = {});
  bool error(const Location& at, std::string message, std::string hint = {});
  bool error(Diagnostic diagnostic);
  void warn(const Location& at, std::string message, std::string hint = {});
  bool failed() const { return !errors_.empty(); }

  enum class Unused { fine, warn };  // what it means when nothing refers to a name
  void define(const std::string& kind, const std::string& name, const Location& at, Unused unused = Unused::fine);
  void redefine(const std::string& from, const std::string& to, const std::string& name);  // it is of another kind
  void mark_empty(const std::string& kind, const std::string& name);  // who refers to it gets a warning
  // Some names of this kind could not be read: references to it that are not found are no errors of their own.
  void mark_incomplete(const std::string& kind) { incomplete_.insert(kind); }
  void refer(const std::string& kind, const std::string& name, const Node& node);

  // Call when everything is decoded: checks every reference, then hands over what was found.
  Result<> finish();
  std::vector<Diagnostic> take_warnings() { return std::move(warnings_); }

 private:
  struct Definition {
    Location at;
    Unused unused = Unused::fine;
    bool empty = false;
    bool used = false;
  };
  struct Reference {
    std::string kind, name;
    Location at;
  };
  void check_reference(const Reference& reference);

  const Document& document_;
  std::vector<Diagnostic> errors_, warnings_;
  size_t more_errors_ = 0;
  // Names of a kind; most are never asked for, and only listed.
  struct Names {
    std::vector<std::pair<std::string, Definition>> listed;  // not among the others yet
    std::map<std::string, Definition> sorted;
    bool unused_matters = false;
  };
  std::map<std::string, Definition>& names_of(const std::string& kind);
  std::map<std::string, Names> defined_;
  std::set<std::string> incomplete_;
  std::vector<Reference> references_;
  std::string copies_;
};

}  // namespace penstock
