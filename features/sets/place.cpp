#include "features/sets/place.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/config/reader.h"

namespace penstock {
namespace {

const Node* entry(const Node* map, std::string_view key) {
  if (!map || map->kind != Node::Kind::map) return nullptr;
  for (size_t i = 0; i < map->entries(); ++i)
    if (map->key(i).text == key) return &map->value(i);
  return nullptr;
}

bool says(std::string_view text, const Prefix& prefix) {
  const ParsedPrefix parsed = parse_prefix(text);
  return parsed.error == PrefixError::none && parsed.prefix == prefix;
}

Location inline_place(const Set& set, const Prefix& prefix, const std::string& text) {
  const auto document = parse_document(set.at.file.text(), text);
  if (!document) return set.at;
  const Node* list = entry(entry(entry(&document->root, "sets"), set.name), "prefixes");
  if (!list || list->kind != Node::Kind::list) return set.at;
  for (const Node& item : list->items)
    if (says(item.text, prefix)) return document->at(item);
  return set.at;
}

}  // namespace

Location place_of(const Set& set, const Prefix& prefix, const std::string& text) {
  if (set.file.empty()) return inline_place(set, prefix, text);
  std::FILE* in = std::fopen(set.read_from.c_str(), "r");
  Location at{set.file, 0, 0};
  char* line = nullptr;
  size_t size = 0;
  for (uint32_t number = 1; in && getline(&line, &size, in) > 0; ++number) {
    std::string_view word(line);
    word = word.substr(0, word.find('#'));
    while (!word.empty() && word.find_last_of(" \t\r\n") == word.size() - 1) word.remove_suffix(1);
    word.remove_prefix(std::min(word.find_first_not_of(" \t"), word.size()));
    if (says(word, prefix)) {
      at.line = number;
      break;
    }
  }
  std::free(line);
  if (in) std::fclose(in);
  return at;
}

}  // namespace penstock
