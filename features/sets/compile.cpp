#include "features/sets/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "features/sets/table.h"

namespace penstock {
namespace {

// One family of sorted prefixes as the builder wants them: left aligned, in the same order.
std::vector<sets::Element> elements_of(const std::vector<Prefix>& prefixes, bool v4) {
  std::vector<sets::Element> out;
  out.reserve(static_cast<size_t>(std::count_if(prefixes.begin(), prefixes.end(), [&](const Prefix& p) { return p.is_v4() == v4; })));
  for (const Prefix& p : prefixes) {
    if (p.is_v4() != v4) continue;
    if (v4)
      out.push_back(sets::Element::ipv4(p.address.v4(), p.family_length()));
    else
      out.push_back({p.address.hi, p.address.lo, 1, p.length, true});
  }
  return out;
}

void append(Bytes& lines, set_part& part, const sets::Table& table) {
  part = table.part;
  part.base = static_cast<uint32_t>(lines.size() / sizeof(set_line));
  const size_t size = table.lines.size() * sizeof(set_line);
  lines.resize(lines.size() + size);
  if (size) std::memcpy(lines.data() + lines.size() - size, table.lines.data(), size);
}

std::string size_text(size_t bytes) { return bytes >= 1 << 20 ? fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)) : fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024); }

std::string describe(const set_table& table) {
  std::string text;
  size_t lines = 0;
  for (int family = 0; family < 2; ++family) {
    lines += table.part[family].lines;
    if (table.part[family].kind == SET_EMPTY) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " + ", family == 0 ? "IPv4" : "IPv6", sets::kind_name(table.part[family].kind));
  }
  return text.empty() ? "empty" : fmt::format("{}, {}", text, size_text(lines * sizeof(set_line)));
}

}  // namespace

Result<CompiledSets> compile_sets(const std::vector<SetUse>& used, const std::vector<Set>& sets) {
  CompiledSets out;
  std::vector<set_table> tables;
  TableImage lines{"set_lines", sizeof(set_line), {}, {}};
  for (uint32_t index = 0; index < used.size(); ++index) {
    const SetUse& use = used[index];
    const std::vector<Prefix>* prefixes = &use.prefixes;
    const Set* named = nullptr;
    if (!use.name.empty()) {
      const auto found = std::find_if(sets.begin(), sets.end(), [&](const Set& s) { return s.name == use.name; });
      if (found == sets.end()) return fail(fmt::format("there is no set `{}`", use.name));
      named = &*found;
      prefixes = &named->prefixes;
    }
    set_table table{};
    for (const bool v4 : {true, false}) append(lines.data, table.part[v4 ? 0 : 1], sets::build_table(elements_of(*prefixes, v4), sets::Ids::no));
    if (named) {
      SetImage image;
      image.name = named->name;
      image.index = index;
      image.counters = named->counters;
      image.structure = describe(table);
      image.elements = prefixes->size();
      out.sets.push_back(std::move(image));
    }
    tables.push_back(table);
  }
  if (!tables.empty()) {
    out.tables.push_back({"sets", sizeof(set_table), bytes_of(tables), fmt::format("{} sets", tables.size())});
    lines.structure = "prefixes";
    out.tables.push_back(std::move(lines));
  }
  return out;
}

}  // namespace penstock
