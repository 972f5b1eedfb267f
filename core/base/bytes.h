// Plain data as bytes, the way the kernel reads constants and tables: host byte order, the struct's own layout.
#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

namespace penstock {

using Bytes = std::vector<std::byte>;

template <class T>
Bytes bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  Bytes out(sizeof value);
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}
template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  Bytes out(values.size() * sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), values.data(), out.size());
  return out;
}

}  // namespace penstock
