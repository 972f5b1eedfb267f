// Random packets and random policies that have something to say about them.  Deterministic for a seed.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "app/config.h"
#include "features/limits/config.h"

namespace penstock::packet_test {

using Frame = std::vector<uint8_t>;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  // Interfaces "a" and "b", sets and policies, two rules in three of which speak of what frame() makes.
  Config config();
  // A frame of 14 to `longest` bytes: mostly sound, with VLANs, options, extension headers, fragments; then perhaps
  // truncated, overwritten or given wrong lengths.
  Frame frame(bool ethernet, size_t longest);

  uint64_t below(uint64_t bound) { return random_() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  template <class T, size_t N>
  T pick(const T (&from)[N]) { return from[below(N)]; }
  void ipv4(Frame& out, size_t room);
  void ipv6(Frame& out, size_t room);
  void wireguard(Frame& out, size_t room);
  void transport(Frame& out, unsigned protocol, size_t room);
  void payload(Frame& out, size_t room);
  void mutate(Frame& frame, size_t network);
  Address address(bool v6);
  uint16_t port();
  Prefix prefix();
  AddressMatch address_match(const std::vector<Set>& sets);
  PortMatch port_match();
  NumberMatch number_match(unsigned most, unsigned common);
  void headers(Rule& rule);
  Mac mac();
  Limit limit(bool may_ban);
  Rule rule(const std::vector<Set>& sets, size_t number);

  std::mt19937_64 random_;
  bool quoting_ = false;
};

}  // namespace penstock::packet_test
