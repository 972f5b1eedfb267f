#include "core/net/rate.h"

#include <limits>

namespace penstock {
namespace {

constexpr uint64_t most_packets = 100'000'000, most_bits = 1'000'000'000'000, least_bits = 1'000;

// A number at the front of the text, and the thousands behind it.  `any_case`: m and g are M and G.
std::optional<uint64_t> take_number(std::string_view& text, bool any_case) {
  size_t digits = 0;
  uint64_t number = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    number = number * 10 + static_cast<uint64_t>(text[digits] - '0');
    if (number > most_bits) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  if (text.empty()) return number;
  uint64_t times = 1;
  switch (text.front()) {
    case 'k': times = 1'000; break;
    case 'M': times = 1'000'000; break;
    case 'G': times = 1'000'000'000; break;
    case 'm': times = any_case ? 1'000'000 : 1; break;
    case 'g': times = any_case ? 1'000'000'000 : 1; break;
    default: break;
  }
  if (times == 1) return number;
  text.remove_prefix(1);
  return number > most_bits * 8 / times ? std::nullopt : std::optional(number * times);
}

struct Period {
  std::string_view name;
  uint32_t seconds;
};
constexpr Period periods[] = {{"s", 1}, {"sec", 1}, {"m", 60}, {"min", 60}, {"h", 3'600}, {"hour", 3'600}, {"d", 86'400}, {"day", 86'400}};

std::optional<Rate> packets(std::string_view text) {
  const auto number = take_number(text, false);
  if (!number || *number == 0) return std::nullopt;
  Rate out{Counted::packets, *number, 0};
  if (text == "pps") out.seconds = 1;
  if (text.starts_with('/'))
    for (const Period& p : periods)
      if (text.substr(1) == p.name) out.seconds = p.seconds;
  if (out.seconds == 0 || *number / out.seconds > most_packets) return std::nullopt;
  return out;
}

std::optional<Rate> bytes(std::string_view text) {
  const auto number = take_number(text, true);
  if (!number) return std::nullopt;
  if (text == "bit" || text == "bit/s") return Rate{Counted::bytes, *number, 1};
  if (text == "B/s") return Rate{Counted::bytes, *number * 8, 1};
  return std::nullopt;
}

}  // namespace

uint64_t Rate::each(unsigned shift) const {
  constexpr unsigned __int128 second = 1'000'000'000;
  const unsigned __int128 ns = (counted == Counted::bytes ? 8 : 1) * second * seconds << shift;
  const unsigned __int128 out = (ns + amount / 2) / amount;
  return out > std::numeric_limits<uint64_t>::max() ? std::numeric_limits<uint64_t>::max() : static_cast<uint64_t>(out);
}

std::optional<Rate> parse_rate(std::string_view text) {
  if (const auto rate = packets(text)) return rate;
  const auto rate = bytes(text);
  return rate && rate->amount >= least_bits && rate->amount <= most_bits ? rate : std::nullopt;
}

std::string rate_text(const Rate& rate) {
  const std::string number = std::to_string(rate.amount);
  if (rate.counted == Counted::bytes) return number + "bit";
  return number + (rate.seconds == 1 ? "/s" : rate.seconds == 60 ? "/min" : rate.seconds == 3'600 ? "/h" : "/d");
}

std::optional<Amount> parse_amount(std::string_view text) {
  std::string_view rest = text;
  if (const auto number = take_number(rest, false); number && rest.empty()) return Amount{Counted::packets, *number};
  rest = text;
  if (const auto number = take_number(rest, true); number && rest == "B") return Amount{Counted::bytes, *number};
  return std::nullopt;
}

}  // namespace penstock
