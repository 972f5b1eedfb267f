#include "app/import/ipset.h"

#include <fmt/format.h>

#include "app/import/lines.h"
#include "app/import/words.h"

namespace penstock::foreign {

Result<IpSets> read_ipsets(const std::vector<Source>& sources) {
  IpSets out;
  std::map<std::string, std::vector<Range>> members;
  std::vector<std::string> taken;
  for (const Source& source : sources) {
    Lines lines(source);
    while (lines.next()) {
      TRY_ASSIGN(const std::vector<Word> words, lines.words());
      if (words.empty()) continue;
      if (words.size() < 3 || (words[0].text != "create" && words[0].text != "add"))
        return lines.error(words[0], "expected `create NAME TYPE ...` or `add NAME MEMBER ...`", "give what `ipset save` prints");
      const std::string& name = words[1].text;
      if (words[0].text == "create") {
        if (!out.try_emplace(name).second) return lines.error(words[1], fmt::format("the set `{}` stands twice", name));
        out[name].name = set_name_from(name, taken);
        taken.push_back(out[name].name);
        const std::string& type = words[2].text;
        if (type != "hash:ip" && type != "hash:net" && type != "bitmap:ip") out[name].reason = fmt::format("the ipset `{}` is of the type {}, not of addresses alone", name, type);
        continue;
      }
      const auto set = out.find(name);
      if (set == out.end()) return lines.error(words[1], fmt::format("no set `{}` was created before", name));
      if (!set->second.reason.empty()) continue;
      const auto range = addresses(words[2].text);
      if (!range) return lines.error(words[2], fmt::format("`{}` is no address", words[2].text));
      for (size_t i = 3; i < words.size(); ++i) {
        if (words[i].text == "nomatch") set->second.reason = fmt::format("the ipset `{}` has members with `nomatch`", name);
        if (words[i].text == "timeout") set->second.expires = true;
      }
      for (const Range& r : range->list()) members[name].push_back(r);
    }
  }
  for (auto& [name, list] : members) out[name].addresses = Ranges(std::move(list));
  return out;
}

}  // namespace penstock::foreign
