#include "core/plan/revision_tables.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include <fmt/format.h>

namespace penstock {
namespace {

// A field ends at a tab or a newline; those within it, and the backslash, are told by two characters.
void put(std::string& out, std::string_view field, char end) {
  const auto told_by_two = [](char c) { return c == '\t' || c == '\n' || c == '\\'; };
  for (auto special = std::ranges::find_if(field, told_by_two); special != field.end(); special = std::ranges::find_if(field, told_by_two)) {
    out.append(field.begin(), special);
    out += '\\';
    out += *special == '\t' ? 't' : *special == '\n' ? 'n' : *special;
    field = {special + 1, field.end()};
  }
  out += field;
  out += end;
}

std::string text_of(std::string_view field) {
  if (field.find('\\') == field.npos) return std::string(field);
  std::string out;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] != '\\' || i + 1 == field.size()) {
      out += field[i];
      continue;
    }
    const char c = field[++i];
    out += c == 't' ? '\t' : c == 'n' ? '\n' : c;
  }
  return out;
}

bool number_of(std::string_view field, uint32_t& out) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), out);
  return error == std::errc{} && end == field.data() + field.size();
}

// Calls `each` with the N fields of each line, until it says no.
template <size_t N, class Each>
bool read_lines(std::string_view text, const Each& each) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == text.npos) return false;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    std::array<std::string_view, N> fields;
    for (size_t i = 0; i + 1 < N; ++i) {
      const size_t tab = line.find('\t');
      if (tab == line.npos) return false;
      fields[i] = line.substr(0, tab);
      line.remove_prefix(tab + 1);
    }
    fields[N - 1] = line;
    if (!each(fields)) return false;
  }
  return true;
}

using SlotFields = std::array<std::string_view, 11>;

bool slot_from(const SlotFields& f, Slot& slot) {
  uint32_t verdict = 0, reason = 0;
  if (!number_of(f[1], verdict) || !number_of(f[2], reason)) return false;
  slot.verdict = static_cast<ps_verdict>(verdict);
  slot.reason = static_cast<ps_reason>(reason);
  slot.interface = text_of(f[5]);
  slot.policy = text_of(f[6]);
  slot.rule = text_of(f[7]);
  slot.service = text_of(f[9]);
  slot.backend = text_of(f[10]);
  return true;
}

bool place_from(std::string_view line, std::string_view column, std::string_view file, Location& at) {
  at.file = text_of(file);
  return number_of(line, at.line) && number_of(column, at.column);
}

}  // namespace

std::string slots_text(const std::vector<Slot>& slots) {
  std::string out;
  for (const Slot& s : slots) {
    fmt::format_to(std::back_inserter(out), "{}\t{}\t{}\t{}\t{}\t", s.number, static_cast<int>(s.verdict), static_cast<int>(s.reason), s.at.line, s.at.column);
    put(out, s.interface, '\t');
    put(out, s.policy, '\t');
    put(out, s.rule, '\t');
    put(out, s.at.file.text(), '\t');
    put(out, s.service, '\t');
    put(out, s.backend, '\n');
  }
  return out;
}

std::string parts_text(const std::map<std::string, Part>& parts) {
  std::string out;
  for (const auto& [name, part] : parts) {
    put(out, part.digest, '\t');
    fmt::format_to(std::back_inserter(out), "{}\t{}\t", part.at.line, part.at.column);
    put(out, name, '\t');
    put(out, part.text, '\t');
    put(out, part.at.file.text(), '\n');
  }
  return out;
}

bool read_slots(std::string_view text, std::vector<Slot>& out) {
  return read_lines<11>(text, [&](const SlotFields& f) {
    Slot slot;
    if (!number_of(f[0], slot.number) || !slot_from(f, slot) || !place_from(f[3], f[4], f[8], slot.at)) return false;
    out.push_back(std::move(slot));
    return true;
  });
}

bool read_slots(std::string_view text, const std::function<bool(uint32_t)>& wanted, std::vector<Slot>& out) {
  // Most lines are of no interest where many revisions are read: their other fields are not looked at.
  while (!text.empty()) {
    uint32_t number = 0;
    const auto [tab, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const size_t end = text.find('\n');
    if (error != std::errc{} || end == text.npos || *tab != '\t') return false;
    const std::string_view line = text.substr(0, end + 1);
    text.remove_prefix(end + 1);
    if (!wanted(number)) continue;
    const bool good = read_lines<11>(line, [&](const SlotFields& f) {
      Slot slot;
      slot.number = number;
      if (!slot_from(f, slot)) return false;
      out.push_back(std::move(slot));
      return true;
    });
    if (!good) return false;
  }
  return true;
}

bool read_parts(std::string_view text, std::map<std::string, Part>& out) {
  return read_lines<6>(text, [&](const std::array<std::string_view, 6>& f) {
    Part part;
    part.digest = text_of(f[0]);
    part.text = text_of(f[4]);
    if (!place_from(f[1], f[2], f[5], part.at)) return false;
    out.emplace_hint(out.end(), text_of(f[3]), std::move(part));
    return true;
  });
}

}  // namespace penstock
