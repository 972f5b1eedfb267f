#include "core/config/descriptors.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/diagnostic.h"

namespace penstock {

const Key* KeyTable::find(std::string_view name) const {
  const auto found = std::ranges::find(keys, name, &Key::name);
  return found == keys.end() ? nullptr : &*found;
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

bool check_keys(Decoder& decoder, const Node& node, const KeyTable& table) {
  if (node.kind != Node::Kind::map) {
    std::vector<std::string> names;
    for (const Key& key : table.keys) names.push_back(key.name);
    return decoder.error(node, fmt::format("expected a map with the keys of this {}", table.title), fmt::format("its keys are {}", fmt::join(names, ", ")));
  }
  bool good = true;
  for (size_t i = 0; i < node.entries(); ++i) {
    const Node& key = node.key(i);
    const Key* known = table.find(key.text);
    if (known && node.value(i).empty_value())
      good = decoder.error(key, fmt::format("`{}` has no value", key.text), fmt::format("it takes {}; or remove the key", known->shape.text));
    if (known) continue;
    good = false;
    if (std::ranges::find(table.unbuilt, key.text) != table.unbuilt.end()) {
      decoder.error(key, fmt::format("`{}` is not built yet in this version", key.text), "remove it: penstock ignores nothing");
      continue;
    }
    std::vector<std::string> names;
    for (const Key& k : table.keys) names.push_back(k.name);
    decoder.error(key, fmt::format("unknown key `{}` in this {}", key.text, table.title), suggest(key.text, names));
  }
  for (const Key& key : table.keys) {
    if (!key.required) continue;
    bool present = false;
    for (size_t i = 0; i < node.entries(); ++i) present |= node.key(i).text == key.name;
    if (!present) good = decoder.error(node, fmt::format("`{}` is missing in this {}", key.name, table.title), fmt::format("add `{}: {}`", key.name, key.doc.example));
  }
  return good;
}

}  // namespace penstock
