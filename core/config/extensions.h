// Values that one feature adds to the structs of another without either knowing the other: kept and found by their type.
#pragma once
#include <any>
#include <map>
#include <typeindex>
#include <utility>

namespace penstock {

class Extensions {
 public:
  template <class V>
  void set(V value) { values_.insert_or_assign(std::type_index(typeid(V)), std::move(value)); }
  // nullptr when the key was not given.
  template <class V>
  const V* get() const {
    const auto found = values_.find(std::type_index(typeid(V)));
    return found == values_.end() ? nullptr : std::any_cast<V>(&found->second);
  }

 private:
  std::map<std::type_index, std::any> values_;
};

}  // namespace penstock
