// Descriptors: what every key of the file is called, takes, defaults to and means.  They decode the file, and the JSON Schema,
// the reference, the man page and the completion words are generated from the same tables, so that none can drift.
//
//   static const Keys<Interface> keys = Keys<Interface>("interface", "Devices that take part.")
//       .required("match", one_or_list_of(pattern_type()), &Interface::match, {"Device names or patterns.", "eth0"})
//       .optional("xdp", one_of<XdpMode>({...}), &Interface::xdp, "auto", {"How programs are attached.", "native"});
//
// A feature offers a Type of its section (`Type<std::vector<Interface>> interfaces_type()`), and app/features.cpp lists it.
#pragma once
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "core/config/decoder.h"
#include "core/config/extensions.h"

namespace penstock {

struct KeyTable;

// A word that a key takes, with what it means.  Words that are known but not built yet are refused by name.
struct Word {
  std::string name;
  std::string description;
};

// What a value looks like, for people and for machines.
struct Shape {
  std::string text;                        // "auto | native", "list of prefixes"
  nlohmann::ordered_json schema;           // JSON Schema of the value
  std::vector<Word> words{};               // if it is one of a few words
  std::shared_ptr<const KeyTable> table{}; // of the map, or of the maps in the list or map
  std::string path{};                      // how these maps are reached from the key: "", ".NAME" or "[]"
};

struct Doc {
  std::string description;   // whole sentences
  std::string example;       // a value, in YAML
};

struct Key {
  std::string name;
  Shape shape;
  bool required = false;
  std::string fallback;      // the default as it would be written; empty: none
  Doc doc;
};

struct KeyTable {
  std::string title;         // what one such map is called: "rule"
  std::string description;
  std::vector<Key> keys;
  std::vector<std::string> unbuilt;  // names kept for later versions: refused by name, never ignored
  std::unordered_map<std::string, size_t> indexes;  // of the keys, by name

  static constexpr size_t none = SIZE_MAX;
  void add(Key key);
  size_t find(const std::string& name) const;  // its index among the keys, or none
  nlohmann::ordered_json schema() const;
};

// How a value of type V is described and read.  decode returns false when it has reported an error.
template <class V>
struct Type {
  Shape shape;
  std::function<bool(Decoder&, const Node&, V&)> decode;
};

// A key that one feature adds to the maps of another.
struct Extension {
  Key key;
  std::function<bool(Decoder&, const Node&, Extensions&)> decode;
};
template <class V>
Extension extension(std::string name, Type<V> type, Doc doc) {
  return {{std::move(name), type.shape, false, {}, std::move(doc)}, [decode = type.decode](Decoder& d, const Node& node, Extensions& out) {
            V value{};
            if (!decode(d, node, value)) return false;
            out.set(std::move(value));
            return true;
          }};
}

Node scalar_node(std::string text);  // a node of no place, for defaults
// Reports what every map is checked for: unknown and unbuilt keys, empty values, missing keys.  `found` is the index in the
// table of each entry's key, or KeyTable::none.
bool check_keys(Decoder& decoder, const Node& node, const KeyTable& table, std::vector<size_t>& found);

// The keys of a map that is read into a T.
template <class T>
class Keys {
 public:
  Keys(std::string title, std::string description) : table_(std::make_shared<KeyTable>()) {
    table_->title = std::move(title);
    table_->description = std::move(description);
  }

  template <class V, class M>
  Keys& required(std::string name, Type<V> type, M T::*member, Doc doc) {
    return add({std::move(name), type.shape, true, {}, std::move(doc)}, assign(type, member));
  }
  template <class V, class M>
  Keys& optional(std::string name, Type<V> type, M T::*member, Doc doc) {
    return add({std::move(name), type.shape, false, {}, std::move(doc)}, assign(type, member));
  }
  // With a default, which is itself read by the type: the documented default is the one that works.
  template <class V, class M>
  Keys& optional(std::string name, Type<V> type, M T::*member, std::string fallback, Doc doc) {
    const Document nowhere("", "");
    Decoder scratch(nowhere);
    V value{};
    if (!type.decode(scratch, scalar_node(fallback), value)) std::abort();  // a default that its own type refuses
    defaults_.push_back([member, value = std::move(value)](T& out) { out.*member = value; });
    return add({std::move(name), type.shape, false, std::move(fallback), std::move(doc)}, assign(type, member));
  }
  // The place of the last key's value, or of the map when the key is absent.
  Keys& located(Location T::*member) {
    readers_.back().place = member;
    return *this;
  }
  Keys& extend(const std::vector<Extension>& extensions, Extensions T::*member) {
    for (const Extension& e : extensions)
      add(e.key, [decode = e.decode, member](Decoder& d, const Node& node, T& out) { return decode(d, node, out.*member); });
    return *this;
  }
  Keys& unbuilt(std::vector<std::string> names) {
    table_->unbuilt = std::move(names);
    return *this;
  }
  // What no single key can tell; runs when every key was read without error.
  Keys& check(std::function<bool(Decoder&, const Node&, T&)> function) {
    check_ = std::move(function);
    return *this;
  }

  std::shared_ptr<const KeyTable> table() const { return table_; }

  bool decode(Decoder& decoder, const Node& node, T& out) const {
    std::vector<size_t> found;
    bool good = check_keys(decoder, node, *table_, found);
    if (node.kind != Node::Kind::map) return false;
    for (const auto& set_default : defaults_) set_default(out);
    for (const Reader& reader : readers_)
      if (reader.place) out.*reader.place = decoder.at(node);
    for (size_t i = 0; i < node.entries(); ++i) {
      if (found[i] == KeyTable::none || node.value(i).empty_value()) continue;
      const Reader& reader = readers_[found[i]];
      if (reader.place) out.*reader.place = decoder.at(node.value(i));
      good = reader.decode(decoder, node.value(i), out) && good;
    }
    return good && (!check_ || check_(decoder, node, out));
  }

 private:
  using Decode = std::function<bool(Decoder&, const Node&, T&)>;
  struct Reader {
    Decode decode;
    Location T::*place = nullptr;
  };

  template <class V, class M>
  static Decode assign(const Type<V>& type, M T::*member) {
    return [decode = type.decode, member](Decoder& d, const Node& node, T& out) {
      if constexpr (std::is_same_v<V, M>) {
        return decode(d, node, out.*member);
      } else {
        V value{};
        if (!decode(d, node, value)) return false;
        out.*member = std::move(value);
        return true;
      }
    };
  }
  Keys& add(Key key, Decode decode) {
    readers_.push_back({std::move(decode)});
    table_->add(std::move(key));
    return *this;
  }

  std::shared_ptr<KeyTable> table_;
  std::vector<Reader> readers_;  // of the table's keys
  std::vector<std::function<void(T&)>> defaults_;
  Decode check_;
};

}  // namespace penstock
