// Rates and amounts as people write them: "100/s", "5/min", "10kpps", "50mbit", "10kB/s"; "100", "10k", "64kB".
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

enum class Counted { packets, bytes };

// `amount` packets or bits in `seconds`.
struct Rate {
  Counted counted = Counted::packets;
  uint64_t amount = 0;
  uint32_t seconds = 1;     // 1, 60, 3,600 or 86,400
  // What one packet or one byte takes, in ns / 2^`shift`, rounded; saturates.
  uint64_t each(unsigned shift) const;
  bool operator==(const Rate&) const = default;
};

// N/s, N/min, N/h, N/d (also sec, m, hour, day), Npps: packets.  Nbit, NB/s, also as Nbit/s: bits and bytes in a second.
// N is a whole number, with k, M or G behind it in thousands (of bits and bytes also m and g).  At least one packet a
// day or 1 kbit; at most 100 Mpps or 1 Tbit.  nullopt otherwise.
std::optional<Rate> parse_rate(std::string_view text);
std::string rate_text(const Rate& rate);   // the same form: "10000/s", "50000000bit"

// An amount of packets, "100" or "10k", or of bytes, "64kB".
struct Amount {
  Counted counted = Counted::packets;
  uint64_t count = 0;
  bool operator==(const Amount&) const = default;
};
std::optional<Amount> parse_amount(std::string_view text);

}  // namespace penstock
