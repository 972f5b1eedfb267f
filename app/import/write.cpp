#include "app/import/write.h"

#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "core/base/utf8.h"

namespace penstock::foreign {
namespace {

constexpr size_t width = 120;
constexpr size_t most_name = 63;

std::string_view word(Verdict verdict) {
  switch (verdict) {
    case Verdict::accept: return "accept";
    case Verdict::reject: return "reject";
    case Verdict::proceed: return "continue";
    default: return "drop";
  }
}

// Names of rules, each once: NAME, NAME-2, NAME-3.
class Names {
 public:
  std::string fresh(const std::string& base) {
    std::string name = base.substr(0, most_name);
    for (unsigned& i = last_[name]; !taken_.insert(name).second;) {
      const std::string end = fmt::format("-{}", i < 2 ? i = 2 : ++i);
      name = base.substr(0, most_name - end.size()) + end;
    }
    return name;
  }

 private:
  std::unordered_map<std::string, unsigned> last_;
  std::unordered_set<std::string> taken_;
};

// `{ prefixes: [...] }`, broken into lines.
std::string prefix_list(const Ranges& addresses) {
  std::string out = "{ prefixes: [", line;
  const std::vector<Prefix> prefixes = prefixes_of(addresses);
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const std::string item = scalar(prefixes[i].text()) + (i + 1 < prefixes.size() ? "," : "");
    if (prefixes.size() > 6 && (line.empty() || line.size() + item.size() + 1 > width)) {
      out += line + "\n     ";
      line.clear();
    }
    line += (line.empty() && prefixes.size() <= 6 ? "" : " ") + item;
  }
  return out + line + "] }";
}

std::string source_of(const Line& line) {
  if (line.place.text.empty()) return "between the files";
  return fmt::format("{}{}{}", line.place.line ? line.place.where() : "", line.place.line ? ": " : "", line.place.text);
}

std::string rules_of(const NewPolicy& policy, Vocabulary& words) {
  std::string out;
  Names names;
  words.indifferent = policy.indifferent;
  const Line* before = nullptr;
  for (const Entry& entry : policy.entries) {
    const auto note = [&out](const std::string& text) { out += fmt::format("      # {}\n", comment(text)); };
    if (!entry.left.empty()) {
      note("left out: " + source_of(*entry.line));
      note("  " + entry.left);
      before = entry.line;
      continue;
    }
    if (entry.line && entry.line != before) {
      note(source_of(*entry.line));
      for (const std::string& text : entry.line->notes) note("  " + text);
    }
    if (!entry.line && entry.box.find(Field::from)) note(entry.verdict == Verdict::accept ? "the original says nothing of this family" : "the original's policy for this family");
    for (const Line* twin : entry.twins) note(source_of(*twin));
    if (!entry.approximation.empty()) note("  " + entry.approximation);
    before = entry.line;
    // The rule that lets the other family pass must be said in full: it is why the others need not name theirs.
    Vocabulary exact{words.interfaces, {}, {}};
    const auto rules = entry.line ? say(entry.box, words, entry.base) : say(entry.box, exact, entry.base);
    if (!rules) continue;  // flatten() has asked before
    for (const Keys& keys : *rules) {
      out += fmt::format("      - {{ name: {}", scalar(names.fresh(entry.base)));
      for (const auto& [key, value] : keys) out += fmt::format(", {}: {}", key, value);
      out += fmt::format(", action: {} }}\n", word(entry.verdict));
    }
  }
  return out;
}

}  // namespace

std::string comment(const std::string& text, size_t most) {
  std::string out;
  size_t characters = 0;
  const std::string clean = printable(text);
  for (size_t i = 0; i < clean.size() && characters < most; ++characters) {
    const size_t length = utf8_length(std::string_view(clean).substr(i));
    const std::string_view one = std::string_view(clean).substr(i, length ? length : 1);
    i += one.size();
    // YAML has characters of its own that it does not take: the C1 controls, the byte order mark, U+FFFE and U+FFFF.
    const bool refused = (one.size() == 1 && (one[0] < 0x20 || one[0] == 0x7f)) || (one.size() == 2 && one[0] == '\xc2' && static_cast<unsigned char>(one[1]) < 0xa0) ||
                         one == "\xef\xbb\xbf" || one == "\xef\xbf\xbe" || one == "\xef\xbf\xbf" || one == "\xe2\x80\xa8" || one == "\xe2\x80\xa9";
    if (refused) out += ' '; else out += one;
  }
  if (characters == most) out += " ...";
  return out;
}

std::string write(Flat& flat, const std::string& title) {
  std::string policies, attach;
  for (const Device& device : flat.devices) attach += fmt::format("{}{}.ingress", attach.empty() ? "" : ", ", device.interface);
  for (const NewPolicy& policy : flat.policies) {
    policies += fmt::format("  {}:\n    attach: [{}]\n    default: {}\n", scalar(policy.name), attach, word(policy.fallback));
    const std::string rules = rules_of(policy, flat.words);
    // A policy may hold nothing but comments.
    policies += rules.find("      - {") == std::string::npos ? rules : "    rules:\n" + rules;
  }
  std::string out = fmt::format("# {}\n", comment(title));
  for (const std::string& note : flat.notes) out += fmt::format("# {}\n", comment(note));
  out += "version: 1\ninterfaces:\n";
  for (const Device& device : flat.devices) out += fmt::format("  {}: {{ match: {} }}\n", scalar(device.interface), device.match);
  std::string sets;
  for (const NamedSet& set : flat.words.sets)  // behind the rules, which may have added some
    if (set.used) sets += fmt::format("  {}: {}\n", scalar(set.name), prefix_list(set.addresses));
  if (!sets.empty()) out += "sets:\n" + sets;
  return out + "policies:\n" + policies;
}

}  // namespace penstock::foreign
