#include "core/config/descriptors.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/diagnostic.h"

namespace penstock {

void KeyTable::add(Key key) {
  indexes[key.name] = keys.size();
  keys.push_back(std::move(key));
}

size_t KeyTable::find(const std::string& name) const {
  const auto found = indexes.find(name);
  return found == indexes.end() ? none : found->second;
}

nlohmann::ordered_json KeyTable::schema() const {
  nlohmann::ordered_json out{{"type", "object"}, {"description", description}, {"additionalProperties", false}};
  auto required = nlohmann::ordered_json::array();
  auto& properties = out["properties"] = nlohmann::ordered_json::object();
  for (const Key& key : keys) {
    auto& property = properties[key.name] = key.shape.schema;
    property["description"] = key.doc.description;
    if (!key.fallback.empty()) property["default"] = key.fallback;
    if (key.required) required.push_back(key.name);
  }
  if (!required.empty()) out["required"] = required;
  return out;
}

Node scalar_node(std::string text) {
  Node node;
  node.text = std::move(text);
  return node;
}

bool check_keys(Decoder& decoder, const Node& node, const KeyTable& table, std::vector<size_t>& found) {
  if (node.kind != Node::Kind::map) {
    std::vector<std::string> names;
    for (const Key& key : table.keys) names.push_back(key.name);
    return decoder.error(node, fmt::format("expected a map with the keys of this {}", table.title), fmt::format("its keys are {}", fmt::join(names, ", ")));
  }
  bool good = true;
  found.reserve(node.entries());
  for (size_t i = 0; i < node.entries(); ++i) {
    const Node& key = node.key(i);
    const size_t known = found.emplace_back(table.find(key.text));
    if (known != KeyTable::none && node.value(i).empty_value())
      good = decoder.error(key, fmt::format("`{}` has no value", key.text), fmt::format("it takes {}; or remove the key", table.keys[known].shape.text));
    if (known != KeyTable::none) continue;
    good = false;
    if (std::ranges::find(table.unbuilt, key.text) != table.unbuilt.end()) {
      decoder.error(key, fmt::format("`{}` is not built yet in this version", key.text), "remove it: penstock ignores nothing");
      continue;
    }
    std::vector<std::string> names;
    for (const Key& k : table.keys) names.push_back(k.name);
    decoder.error(key, fmt::format("unknown key `{}` in this {}", key.text, table.title), suggest(key.text, names));
  }
  for (size_t k = 0; k < table.keys.size(); ++k) {
    const Key& key = table.keys[k];
    if (key.required && std::ranges::find(found, k) == found.end())
      good = decoder.error(node, fmt::format("`{}` is missing in this {}", key.name, table.title), fmt::format("add `{}: {}`", key.name, key.doc.example));
  }
  return good;
}

}  // namespace penstock
