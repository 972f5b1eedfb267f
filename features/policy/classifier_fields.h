// How the classifier finds the tuples that a field's value can satisfy: values -> classes -> vectors.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "core/net/address.h"
#include "features/policy/classifier_tables.h"

namespace penstock {

// A bit for each tuple.
struct TupleSet {
  std::array<uint64_t, 4> word{};
  void add(uint32_t tuple) { word[tuple >> 6] |= 1ull << (tuple & 63); }
  bool has(const TupleSet& other) const {
    for (int i = 0; i < 4; ++i)
      if (other.word[i] & ~word[i]) return false;
    return true;
  }
  TupleSet& operator|=(const TupleSet& other) {
    for (int i = 0; i < 4; ++i) word[i] |= other.word[i];
    return *this;
  }
  friend TupleSet operator|(TupleSet a, const TupleSet& b) { return a |= b; }
  auto operator<=>(const TupleSet&) const = default;
};

struct TupleSetHash {
  size_t operator()(const TupleSet& s) const {
    uint64_t h = 0;
    for (const uint64_t word : s.word) h = (h ^ word) * PS_HASH_0, h ^= h >> 32;
    return h;
  }
};

// Writes the table, nodes and vectors of one field behind `lines`.
class FieldTables {
 public:
  explicit FieldTables(std::vector<ps_line>& lines) : lines_(lines) {}

  // A prefix and the tuples that have it.
  struct Item {
    Prefix prefix;
    TupleSet tuples;
  };
  // Addresses of one family: `any` holds for all of them.  `items` are sorted by prefix, without duplicates, all in
  // the family.
  ps_class_field addresses(const std::vector<Item>& items, const TupleSet& any, bool ipv4, const TupleSet& all);

  // Ports: the vector of each interval that begins at a key, up to the next key; the first key is 0.
  ps_class_field ports(const std::map<uint32_t, TupleSet>& intervals, const TupleSet& all);

  // One vector for each value below 512.
  ps_class_field services(const std::vector<TupleSet>& values, const TupleSet& all);

  size_t depth() const { return depth_; }  // nodes on the longest way

 private:
  struct Window {           // some bits of an address
    uint32_t offset, bits;  // counted from the top of the 128; within one word
    bool low() const { return offset >= 64; }
    uint32_t shift() const { return 64 - bits - (offset & 63); }
    uint32_t end() const { return offset + bits; }
    uint32_t of(const Address& a) const { return (low() ? a.lo : a.hi) >> shift() & ((1u << bits) - 1); }
  };
  // Values of a window from `start` on: one class, or the items [first, last) that lie deeper.
  struct Interval {
    uint32_t start;
    TupleSet tuples;
    size_t first = 0, last = 0;
    bool deep() const { return first != last; }
  };
  using Intervals = std::vector<Interval>;

  Window window(size_t first, size_t last, uint32_t known, uint32_t bits) const;
  void cover(size_t first, size_t last, const TupleSet& tuples, const Window& w, uint32_t from, uint32_t to,
             Intervals& out) const;
  void region(uint32_t line, size_t first, size_t last, const TupleSet& tuples, uint32_t known, size_t depth);
  void node(uint32_t line, const Intervals& all, size_t first, size_t last, const Window& w, size_t depth);

  uint32_t allocate(size_t lines);
  void turn_page(size_t classes);
  uint32_t class_of(const TupleSet& tuples);
  void root(uint32_t index, uint32_t value);
  void begin(uint32_t bits);
  ps_class_field finish(const Window& w, const TupleSet& all);

  std::vector<ps_line>& lines_;
  const std::vector<Item>* items_ = nullptr;
  std::unordered_map<TupleSet, uint32_t, TupleSetHash> classes_;  // of the last page
  std::vector<TupleSet> vectors_;
  uint32_t page_ = 0;
  uint32_t root_ = 0;
  size_t depth_ = 0;
};

}  // namespace penstock
