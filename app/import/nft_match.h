// What a rule of nft asks of a packet, from the JSON of its expressions.
#pragma once
#include <expected>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/import/say.h"

namespace penstock::foreign {

using NftJson = nlohmann::json;
template <class T>
using Said = std::expected<T, Unsayable>;

// Named sets and maps of one table: their elements as listed.
struct NftSets {
  std::map<std::string, const NftJson*> elements;   // `elem`, or null where it has none
  std::map<std::string, std::string> names;         // sets of addresses: by name, their name in the new file
};

// `object` as {"KEY": value}; null when it is none.
const NftJson* member(const NftJson& object, const char* key);

// left op right, as in {"match": ...}: any of the boxes.
Said<std::vector<Box>> nft_match(const NftJson& left, const std::string& op, const NftJson& right, const NftSets& sets);

// What a packet must be for `left` to be read at all.
Said<Box> nft_needs(const NftJson& left);

// The elements of a set of addresses; `expires`: whether any has a lifetime.
Said<Ranges> nft_addresses(const NftJson& elements, bool& expires);

}  // namespace penstock::foreign
