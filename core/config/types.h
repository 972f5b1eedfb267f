// The types of values that several features use, and how types are made of types.
#pragma once
#include <chrono>
#include <cstdint>

#include "core/base/diagnostic.h"
#include "core/config/descriptors.h"
#include "core/net/address.h"
#include "core/net/rate.h"

namespace penstock {

constexpr size_t longest_name = 63;
constexpr const char* name_pattern = "^[a-z0-9][a-z0-9_.-]{0,62}$";
std::string plural(std::string_view noun);  // "policy": "policies"
bool is_name(std::string_view text);        // [a-z0-9][a-z0-9-_.]*, at most longest_name characters
bool looks_like_address(std::string_view text);  // meant as an address or prefix, well-formed or not

// Building blocks of decode functions: each reports what is wrong and returns false.
const char* kind_text(const Node& node);  // "word", "list" or "map"
bool expect_scalar(Decoder& decoder, const Node& node, std::string_view what);
bool decode_prefix(Decoder& decoder, const Node& node, Prefix& out);
bool decode_number(Decoder& decoder, const Node& node, std::string_view text, uint64_t least, uint64_t most, uint64_t& out);
std::string prefix_problem(const ParsedPrefix& parsed, std::string_view text, std::string& hint);  // message, and its hint
bool check_map_name(Decoder& decoder, const Node& key, std::string_view kind);

Type<std::string> string_type(std::string what);
Type<std::string> name_type(std::string what);
Type<std::string> reference_type(std::string kind);  // the name of something that another part of the file defines
Type<bool> yes_no_type();                            // yes | no | true | false
Type<uint32_t> number_type(uint32_t least, uint32_t most);
Type<std::chrono::milliseconds> duration_type();           // 10ms, 5s, 1h30m
Type<Rate> rate_type();                                    // 100/s, 5/min, 10kpps, 50mbit
Type<Prefix> prefix_type();
Type<Address> address_type();

template <class E>
struct Choice {
  E value;
  Word word;
};

// One of a few words.  `unbuilt` are words kept for later versions.
template <class E>
Type<E> one_of(std::vector<Choice<E>> choices, std::vector<std::string> unbuilt = {}) {
  Shape shape;
  std::vector<std::string> names;
  for (const auto& choice : choices) {
    shape.words.push_back(choice.word);
    names.push_back(choice.word.name);
    shape.text += (shape.text.empty() ? "" : " | ") + choice.word.name;
  }
  shape.schema = {{"enum", names}};
  return {shape, [choices = std::move(choices), names, unbuilt = std::move(unbuilt), text = shape.text](Decoder& d, const Node& node, E& out) {
            if (!expect_scalar(d, node, text)) return false;
            for (const auto& choice : choices) {
              if (choice.word.name != node.text) continue;
              out = choice.value;
              return true;
            }
            for (const auto& word : unbuilt)
              if (word == node.text) return d.error(node, "`" + word + "` is not built yet in this version", suggest("", names));
            return d.error(node, "`" + node.text + "` is not one of " + text, did_you_mean(node.text, names));
          }};
}

template <class V>
Type<std::vector<V>> list_of(Type<V> type) {
  Shape shape{type.shape.table ? "list of " + plural(type.shape.text) : "list of " + type.shape.text, {{"type", "array"}, {"items", type.shape.schema}}, {}, type.shape.table, "[]" + type.shape.path};
  return {shape, [decode = type.decode, text = shape.text](Decoder& d, const Node& node, std::vector<V>& out) {
            if (node.kind != Node::Kind::list) return d.error(node, "expected a " + text + ", not a " + kind_text(node), "write it in brackets: [a, b]");
            bool good = true;
            out.clear();
            out.reserve(node.items.size());
            for (const Node& item : node.items) {
              if (item.empty_value()) {
                good = d.error(item, "an empty entry in a list", "remove the dash");
              } else if (!decode(d, item, out.emplace_back())) {
                out.pop_back();
                good = false;
              }
            }
            return good;
          }};
}

// A single value stands for a list of one.
template <class V>
Type<std::vector<V>> one_or_list_of(Type<V> type) {
  const Type<std::vector<V>> list = list_of(type);
  Shape shape{type.shape.text + ", or a list of them", {{"anyOf", {type.shape.schema, list.shape.schema}}}, type.shape.words, type.shape.table, list.shape.path};
  return {shape, [decode = type.decode, list = list.decode](Decoder& d, const Node& node, std::vector<V>& out) {
            if (node.kind == Node::Kind::list) return list(d, node, out);
            return decode(d, node, out.emplace_back());
          }};
}

// A map with the keys of the table.
template <class T>
Type<T> object_of(Keys<T> keys) {
  Shape shape{keys.table()->title, keys.table()->schema(), {}, keys.table(), ""};
  return {shape, [keys = std::move(keys)](Decoder& d, const Node& node, T& out) {
            if constexpr (requires { out.at; }) out.at = d.at(node);
            return keys.decode(d, node, out);
          }};
}

// A map from names to maps; each name is defined as one of `kind`.  T has members `name` and `at` (the place of the name).
template <class T>
Type<std::vector<T>> named_map_of(std::string kind, Keys<T> keys, Decoder::Unused unused = Decoder::Unused::fine) {
  Shape shape{"map from names to " + plural(keys.table()->title),
              {{"type", "object"}, {"propertyNames", {{"pattern", name_pattern}}}, {"additionalProperties", keys.table()->schema()}},
              {}, keys.table(), ".NAME"};
  return {shape, [kind = std::move(kind), keys = std::move(keys), unused, text = shape.text](Decoder& d, const Node& node, std::vector<T>& out) {
            if (node.kind != Node::Kind::map) return d.error(node, "expected a " + text + ", not a " + kind_text(node), "write `NAME: { ... }`");
            bool good = true;
            for (size_t i = 0; i < node.entries(); ++i) {
              T& value = out.emplace_back();
              value.name = node.key(i).text;
              value.at = d.at(node.key(i));
              good = check_map_name(d, node.key(i), kind) && good;
              d.define(kind, value.name, value.at, unused);
              if (keys.decode(d, node.value(i), value)) continue;
              out.pop_back();
              good = false;
            }
            return good;
          }};
}

}  // namespace penstock
