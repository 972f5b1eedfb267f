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

Result<CompiledSets> compile_sets(const std::vector<SetUse>& used, const std::vector<Set>& sets, KnownSets known) {
  CompiledSets out;
  std::vector<bool> taken(SET_NUMBERS);
  taken[0] = true;  // of nameless sets: they have no run-time elements
  for (const auto& [name, number] : known.numbers)
    if (number < SET_NUMBERS) taken[number] = true;

  struct Content {
    const Set* named = nullptr;
    std::vector<sets::Element> elements[2];  // IPv4, IPv6
    sets::Ids ids = sets::Ids::no;
  };
  std::vector<Content> contents(used.size());
  sets::HitIds hits(std::move(known.owners));
  for (uint32_t index = 0; index < used.size(); ++index) {
    const SetUse& use = used[index];
    Content& content = contents[index];
    const std::vector<Prefix>* prefixes = &use.prefixes;
    uint32_t number = 0;
    if (!use.name.empty()) {
      const auto found = std::find_if(sets.begin(), sets.end(), [&](const Set& s) { return s.name == use.name; });
      if (found == sets.end()) return fail(fmt::format("there is no set `{}`", use.name));
      content.named = &*found;
      prefixes = &found->prefixes;
      const auto held = known.numbers.find(use.name);
      number = held != known.numbers.end() ? held->second : static_cast<uint32_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
      if (number >= SET_NUMBERS) {
        Diagnostic d{fmt::format("more than {} sets, counting those of the revisions that are kept", SET_NUMBERS - 1), found->at};
        d.hint = "join sets that are used alike";
        return fail(std::move(d));
      }
      taken[number] = true;
      known.numbers[use.name] = number;
    }
    for (const int family : {0, 1}) content.elements[family] = elements_of(*prefixes, family == 0);
    if (content.named && content.named->counters) {
      content.ids = sets::Ids::yes;
      for (auto& elements : content.elements) hits.name(number, elements);
      if (const auto more = known.run_time.find(use.name); more != known.run_time.end()) hits.name(number, more->second);
    }
  }
  const std::vector<set_hit_owner> owners = hits.finish();
  if (owners.size() > sets::most_hits(known.lanes)) return fail(fmt::format("{} elements are more than can be counted", owners.size()), "leave out `counters` of some sets");

  std::vector<set_table> tables;
  TableImage lines{.map = "set_lines", .value_size = sizeof(set_line), .data = {}, .structure = "prefixes"};
  for (uint32_t index = 0; index < used.size(); ++index) {
    Content& content = contents[index];
    set_table table{};
    const size_t elements = content.elements[0].size() + content.elements[1].size();
    for (const int family : {0, 1}) {
      append(lines.data, table.part[family], sets::build_table(content.elements[family], content.ids));
      out.constants.kinds |= static_cast<__u8>(1u << table.part[family].kind);
      content.elements[family] = {};
    }
    if (content.ids == sets::Ids::yes) {
      table.flags |= SET_HITS;
      out.constants.hits = 1;
    }
    if (content.named) {
      table.number = known.numbers[content.named->name];
      SetImage image;
      image.name = content.named->name;
      image.index = index;
      image.counters = content.named->counters;
      image.structure = describe(table);
      image.elements = elements;
      image.number = table.number;
      out.sets.push_back(std::move(image));
    }
    if (index < SET_CONSTANTS) out.constants.table[index] = table;
    tables.push_back(table);
  }
  // Without any set too: a map of the program that is no table of the image would be taken for state that outlives it.
  const std::string structure = fmt::format("{} set{}", tables.size(), tables.size() == 1 ? "" : "s");
  if (tables.empty()) tables.emplace_back();
  out.tables.push_back({.map = "sets", .value_size = sizeof(set_table), .data = bytes_of(tables), .structure = structure});
  out.tables.push_back(std::move(lines));
  out.tables.push_back({.map = "set_hit_owners", .value_size = sizeof(set_hit_owner), .data = bytes_of(owners), .structure = {}, .state = true});
  out.sizes = {{"set_extra", SET_NUMBERS}, {"set_extra_counts", SET_NUMBERS},
               {"set_hits", std::max<uint32_t>(1, static_cast<uint32_t>(owners.size()) * known.lanes)}};
  out.constants.hits_capacity = static_cast<uint32_t>(owners.size());
  out.constants.run_time = 1;
  return out;
}

}  // namespace penstock
