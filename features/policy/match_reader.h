// How the words of a match are read, whatever they are words for.
#pragma once
#include <functional>
#include <span>

#include "core/config/types.h"
#include "core/net/number_range.h"
#include "features/policy/config.h"

namespace penstock {

using ItemReader = std::function<bool(Decoder&, const Node&)>;

// Reads the words of a match and whether it is negated: x, [x, y], "!x", { not: x }, { not: [x, y] }.
bool read_match(Decoder& decoder, const Node& node, bool& negate, const ItemReader& item);
// The schema of such a value, from that of a word.
nlohmann::ordered_json match_schema(const nlohmann::ordered_json& item);

// "8" or "8-15", both at most `most`.
bool read_range(Decoder& decoder, const Node& node, uint16_t most, std::vector<NumberRange>& out);
// Joins the ranges; an error where the negation leaves nothing of 0 to `most`.  `what`: "port".
bool finish_ranges(Decoder& decoder, const Node& node, uint16_t most, std::string_view what, NumberMatch& match);

}  // namespace penstock
