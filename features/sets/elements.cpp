#include "features/sets/elements.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>

#include "core/base/diagnostic.h"
#include "core/kernel/bpf.h"
#include "core/plan/revisions.h"
#include "features/sets/extra.h"
#include "features/sets/live_hits.h"

namespace penstock {

using sets::Element;
using sets::ElementsFile;
using sets::ElementsHeader;
using sets::ExtraElement;
using sets::LiveHits;
using sets::RunTimeElement;

namespace {

constexpr int64_t ns_per_ms = 1'000'000;

int64_t clock_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// Wall-clock ends as the kernel's clock tells them; both clocks are read once, together.
class Clocks {
 public:
  Clocks() : wall_(clock_ns(CLOCK_REALTIME)), kernel_(clock_ns(CLOCK_MONOTONIC)) {}
  bool ended(int64_t end) const { return end != 0 && end * ns_per_ms <= wall_; }
  uint64_t expiry(int64_t end) const { return end == 0 ? 0 : static_cast<uint64_t>(std::max<int64_t>(1, kernel_ + (end * ns_per_ms - wall_))); }

 private:
  int64_t wall_, kernel_;
};

// The maps that all generations share; descriptors belong to somebody else.
struct ExtraMaps {
  int extra = -1, counts = -1;
};

// The table that the kernel has for set `number`; no descriptor where it has none.
Result<Fd> open_table(const ExtraMaps& maps, uint32_t number) {
  uint32_t id = 0;
  if (bpf_map_lookup_elem(maps.extra, &number, &id) < 0) {
    if (errno == ENOENT) return Fd();
    return fail_errno("cannot read the map set_extra", errno);
  }
  const int fd = bpf_map_get_fd_by_id(id);
  if (fd < 0) return fail_errno("cannot open the run-time elements of a set", errno);
  return Fd(fd);
}

struct TableView {
  Mapping memory;
  std::span<const set_line> lines;
  const set_extra_header& header() const { return *reinterpret_cast<const set_extra_header*>(lines.data()); }
};
Result<TableView> view_table(int table) {
  TRY_ASSIGN(const bpf_map_info info, map_info(table));
  TableView view;
  TRY_ASSIGN(view.memory, map_memory(table));
  view.lines = {view.memory.as<set_line>(), info.max_entries};
  return view;
}

Result<Fd> make_table(std::vector<ExtraElement> elements, uint64_t version, uint64_t ids_of) {
  auto content = sets::build_extra(std::move(elements));
  content.header.version = version;
  content.header.ids_of = ids_of;
  TRY_ASSIGN(Fd table, create_map({BPF_MAP_TYPE_ARRAY, "set_extra_lines", 4, sizeof(set_line), static_cast<uint32_t>(content.size()), BPF_F_MMAPABLE | BPF_F_INNER_MAP}));
  TRY_ASSIGN(const Mapping memory, map_memory(table.get()));
  content.copy_to({memory.as<set_line>(), content.size()});
  return table;
}

// The one moment at which packets see the new elements; count 0: there are none.
Result<> swap_table(const ExtraMaps& maps, uint32_t number, int table, uint32_t count) {
  if (count == 0) {
    TRY(map_update(maps.counts, &number, &count));
    step("elements-uncounted");
    if (bpf_map_delete_elem(maps.extra, &number) < 0 && errno != ENOENT) return fail_errno("cannot clear the map set_extra", errno);
  } else {
    TRY(map_update(maps.extra, &number, &table));
    step("elements-swapped");
    TRY(map_update(maps.counts, &number, &count));
  }
  step("elements-switched");
  return {};
}

// The same behind the change of the file, which has decided already.
Result<> switch_to(const ExtraMaps& maps, const LiveSet& set, int table, uint32_t count) {
  auto done = swap_table(maps, set.number, table, count);
  if (!done) done.error().diagnostics.front().hint = "the change is saved: the next command that changes the node puts it into the kernel";
  return done;
}

struct Built {
  Fd table;
  uint32_t count = 0;
};
Result<Built> build(const ElementsFile& file, uint64_t ids_of, const std::function<uint32_t(const Element&)>& id) {
  const Clocks clocks;
  std::vector<ExtraElement> elements;
  elements.reserve(file.elements.size());
  for (const RunTimeElement& e : file.elements) {
    if (clocks.ended(e.end)) continue;
    Element element = sets::to_element(e.prefix);
    element.id = id(element);
    elements.push_back({element, clocks.expiry(e.end)});
  }
  Built out;
  out.count = static_cast<uint32_t>(elements.size());
  if (out.count == 0) return out;
  TRY_ASSIGN(out.table, make_table(std::move(elements), file.version, ids_of));
  return out;
}

// Gives an element of set `number` its id.
using IdOf = std::function<uint32_t(uint32_t number, const Element&)>;
uint32_t no_counter(uint32_t, const Element&) { return 1; }

// Is the kernel's table built from this version, with ids that generation `ids_of` agrees to?  A table remembers whose ids
// it has: those of a candidate that came to nothing may belong to others in the generation that still runs.
Result<bool> up_to_date(const ExtraMaps& maps, const ElementsHeader& file, uint64_t ids_of, const IdOf* ids) {
  TRY_ASSIGN(const Fd table, open_table(maps, file.number));
  if (!table) return false;
  TRY_ASSIGN(const TableView view, view_table(table.get()));
  if (view.header().version != file.version) return false;
  uint32_t count = 0;
  if (bpf_map_lookup_elem(maps.counts, &file.number, &count) < 0 || count == 0) return false;
  if (!ids || view.header().ids_of == ids_of) return true;
  if (!std::ranges::all_of(sets::read_extra(view.lines), [&](const ExtraElement& e) { return (*ids)(file.number, e.prefix) == e.prefix.id; })) return false;
  view.memory.as<set_extra_header>()->ids_of = ids_of;  // programs do not read it
  return true;
}

// Brings the kernel up to the files.  counted: sets whose elements need ids from `ids`, which are those of `ids_of`.
Result<> sync(const Instance& instance, const ExtraMaps& maps, const std::vector<std::string>& counted, uint64_t ids_of, const IdOf& ids) {
  std::vector<bool> named(SET_NUMBERS);
  for (const std::string& name : sets::sets_with_elements(instance)) {
    const std::string path = sets::elements_path(instance, name);
    TRY_ASSIGN(const ElementsHeader header, sets::read_elements_header(path));
    named[header.number] = true;
    const bool counts = std::ranges::find(counted, name) != counted.end();
    TRY_ASSIGN(const bool good, up_to_date(maps, header, ids_of, counts ? &ids : nullptr));
    if (good) continue;
    TRY_ASSIGN(const ElementsFile file, sets::read_elements(path));
    TRY_ASSIGN(const Built built, build(file, counts ? ids_of : 0, [&](const Element& e) { return counts ? ids(header.number, e) : no_counter(header.number, e); }));
    TRY(swap_table(maps, header.number, built.table.get(), built.count));
  }
  // Whose file is gone: flushed by a command that was killed.
  TRY_ASSIGN(const Mapping counts, map_memory(maps.counts));
  for (uint32_t number = 1; number < SET_NUMBERS; ++number)
    if (!named[number] && counts.as<uint64_t>()[number] != 0) TRY(swap_table(maps, number, -1, 0));
  return {};
}

struct Pinned {
  Fd extra, counts;
  ExtraMaps maps() const { return {extra.get(), counts.get()}; }
};
// No descriptors before the first apply.
Result<Pinned> open_pinned(const Instance& instance) {
  Pinned out;
  std::error_code error;
  if (!std::filesystem::exists(instance.pins("shared/set_extra"), error)) return out;
  TRY_ASSIGN(out.extra, open_pin(instance.pins("shared/set_extra")));
  TRY_ASSIGN(out.counts, open_pin(instance.pins("shared/set_extra_counts")));
  return out;
}

std::vector<uint64_t> alive(const Running& running) {
  const uint64_t now = coarse_now();
  std::vector<uint64_t> out;
  if (const uint64_t active = running.active(now)) out.push_back(active);
  if (running.transaction)
    for (const uint64_t other : {running.transaction->to, running.transaction->from})
      if (other != 0 && std::ranges::find(out, other) == out.end()) out.push_back(other);
  return out;
}

std::vector<std::string> counted_sets(const std::vector<SetImage>& images) {
  std::vector<std::string> out;
  for (const SetImage& s : images)
    if (s.counters) out.push_back(s.name);
  return out;
}

}  // namespace

Result<KnownSets> read_known_sets(const Instance& instance, const Running& running, const std::vector<Set>& sets) {
  KnownSets known;
  known.lanes = counter_lanes();
  for (const Revision& revision : Revisions(instance).heads())
    for (const SetImage& s : revision.sets) known.numbers[s.name] = s.number;
  for (const std::string& name : sets::sets_with_elements(instance)) {
    TRY_ASSIGN(const ElementsHeader header, sets::read_elements_header(sets::elements_path(instance, name)));
    known.numbers[name] = header.number;
  }
  if (std::ranges::none_of(sets, &Set::counters)) return known;
  TRY_ASSIGN(const LiveHits hits, LiveHits::open(instance, {running.state.generation}));
  known.owners = hits.owners();
  for (const Set& s : sets) {
    if (!s.counters) continue;
    TRY_ASSIGN(const auto elements, run_time_elements(instance, s.name));
    auto& list = known.run_time[s.name];
    list.reserve(elements.size());
    for (const RunTimeElement& e : elements) list.push_back(sets::to_element(e.prefix));
  }
  return known;
}

Result<> restore_elements(const Instance& instance, const Image& image, uint64_t generation, const Loaded& loaded) {
  const ExtraMaps maps{loaded.map("set_extra"), loaded.map("set_extra_counts")};
  if (maps.extra < 0 || maps.counts < 0) return {};  // no interface, no program
  std::span<const set_hit_owner> owners;
  for (const TableImage& table : image.tables)
    if (table.map == "set_hit_owners") owners = {reinterpret_cast<const set_hit_owner*>(table.data.data()), table.data.size() / sizeof(set_hit_owner)};
  TRY_ASSIGN(const Running running, observe(instance));
  TRY_ASSIGN(LiveHits hits, LiveHits::open(instance, alive(running)));
  hits.clear_reused(owners);
  const sets::HitIndex index(owners);
  const auto id = [&](uint32_t number, const Element& e) {
    const uint32_t place = index.find(number, e);
    return place == 0 ? SET_NO_COUNTER : place;
  };
  return sync(instance, maps, counted_sets(image.sets), generation, id);
}

Result<> sync_elements(const Instance& instance) {
  TRY_ASSIGN(const Pinned pinned, open_pinned(instance));
  if (!pinned.extra) return {};
  TRY_ASSIGN(const Running running, observe(instance));
  const auto generations = alive(running);
  std::vector<std::string> counted;
  for (const uint64_t generation : generations)
    if (auto revision = Revisions(instance).head(generation))
      for (const std::string& name : counted_sets(revision->sets)) counted.push_back(name);
  TRY_ASSIGN(LiveHits hits, LiveHits::open(instance, generations));
  return sync(instance, pinned.maps(), counted, generations.empty() ? 0 : generations.front(),
              [&](uint32_t number, const Element& e) { return hits.claim(number, e); });
}

Result<LiveSet> find_set(const Instance& instance, const Running& running, const std::string& name) {
  LiveSet out;
  out.name = name;
  out.generations = alive(running);
  if (out.generations.empty()) return fail(fmt::format("nothing runs in instance {}", instance.name), "apply a file that names the set first");
  std::vector<std::string> known;
  for (const uint64_t generation : out.generations) {
    TRY_ASSIGN(const Revision revision, Revisions(instance).head(generation));
    for (const SetImage& s : revision.sets) {
      known.push_back(s.name);
      if (s.name != name) continue;
      if (out.revision == 0) out.revision = generation;
      out.number = s.number;
      out.counters = out.counters || s.counters;
    }
  }
  if (out.revision == 0) return fail(fmt::format("there is no set `{}`", name), suggest(name, known));
  return out;
}

Result<std::vector<RunTimeElement>> run_time_elements(const Instance& instance, const std::string& set) {
  TRY_ASSIGN(ElementsFile file, sets::read_elements(sets::elements_path(instance, set)));
  const Clocks clocks;
  std::erase_if(file.elements, [&](const RunTimeElement& e) { return clocks.ended(e.end); });
  return std::move(file.elements);
}

Result<std::vector<JudgedElement>> judged_elements(const Instance& instance, const LiveSet& set) {
  std::vector<JudgedElement> out;
  TRY_ASSIGN(const Pinned pinned, open_pinned(instance));
  if (!pinned.extra) return out;
  uint32_t count = 0;  // as programs ask first
  if (bpf_map_lookup_elem(pinned.counts.get(), &set.number, &count) < 0) return fail_errno("cannot read the map set_extra_counts", errno);
  if (count == 0) return out;
  TRY_ASSIGN(const Fd table, open_table(pinned.maps(), set.number));
  if (!table) return out;
  TRY_ASSIGN(const TableView view, view_table(table.get()));
  const uint64_t now = coarse_now();
  const auto elements = sets::read_extra(view.lines);
  out.reserve(elements.size());
  for (const ExtraElement& e : elements) {
    if (e.expiry != 0 && now >= e.expiry) continue;
    out.push_back({sets::to_prefix(e.prefix), e.expiry == 0 ? 0 : static_cast<int64_t>((e.expiry - now + ns_per_ms - 1) / ns_per_ms)});
  }
  std::ranges::sort(out, {}, &JudgedElement::prefix);
  return out;
}

Result<size_t> put_run_time_elements(const Instance& instance, const LiveSet& set, std::vector<RunTimeElement> elements) {
  TRY_ASSIGN(const Pinned pinned, open_pinned(instance));
  const std::string path = sets::elements_path(instance, set.name);
  if (elements.empty()) {
    if (unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno(fmt::format("cannot remove {}", path), errno);
    step("elements-written");
    if (pinned.extra) TRY(switch_to(pinned.maps(), set, -1, 0));
    return 0;
  }
  if (!pinned.extra) return fail(fmt::format("no program of instance {} looks into the set `{}`", instance.name, set.name), "attach a policy that uses it, then apply");
  ElementsFile file;
  file.number = set.number;
  file.version = static_cast<uint64_t>(clock_ns(CLOCK_REALTIME));
  file.elements = std::move(elements);
  // What may fail for want of memory or space comes first; then the file decides.
  size_t uncounted = 0;
  TRY_ASSIGN(LiveHits hits, LiveHits::open(instance, set.generations));
  TRY_ASSIGN(const Built built, build(file, set.counters && !set.generations.empty() ? set.generations.front() : 0, [&](const Element& e) {
    if (!set.counters) return no_counter(set.number, e);
    const uint32_t id = hits.claim(set.number, e);
    uncounted += id == SET_NO_COUNTER;
    return id;
  }));
  step("elements-built");
  TRY(sets::write_elements_aside(path, file));
  step("elements-aside");
  TRY(sets::put_elements(path));
  step("elements-written");
  TRY(switch_to(pinned.maps(), set, built.table.get(), built.count));
  return uncounted;
}

}  // namespace penstock
