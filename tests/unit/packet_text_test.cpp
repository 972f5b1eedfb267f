// The text form of packets against bytes that scapy made (packets.py), and its errors.
#include "core/net/packet_text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock {
namespace {

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string out;
  for (const uint8_t b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

TEST(PacketText, EqualsScapy) {
  static constexpr struct {
    const char* text;
    const char* bytes;
  } cases[] = {
#define PACKET(text, bytes) {text, bytes},
#include "tests/unit/packets.def"
#undef PACKET
  };
  for (const auto& c : cases) {
    const auto frame = packet_from_text(c.text);
    ASSERT_TRUE(frame) << c.text << ": " << frame.error().message();
    EXPECT_EQ(hex(*frame), c.bytes) << c.text;
  }
}

TEST(PacketText, ErrorsPointAtTheWord) {
  static constexpr struct {
    const char* text;
    unsigned column;
    const char* message;
  } cases[] = {
      {"", 1, "missing"},
      {"tpc 1.2.3.4:1 > 1.2.3.5:2", 1, "unknown kind of packet `tpc`"},
      {"tcp 1.2.3.4 > 1.2.3.5:2", 5, "an address with a port"},
      {"tcp 1.2.3.4:70000 > 1.2.3.5:2", 5, "no port"},
      {"tcp 1.2.3.400:1 > 1.2.3.5:2", 5, "no address"},
      {"tcp 2001:db8::1:80 > 1.2.3.5:2", 5, "an address with a port"},
      {"tcp 1.2.3.4:1 1.2.3.5:2", 15, "`>`"},
      {"tcp 1.2.3.4:1 > [::1]:2", 17, "different families"},
      {"tcp 1.2.3.4:1 > 1.2.3.5:2 syn sny", 31, "unknown option `sny`"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 syn", 27, "unknown option `syn`"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 length", 33, "missing"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 ttl 256", 31, "from 0 to 255"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 payload 0g", 35, "hexadecimal"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 fragment 7", 36, "multiple of 8"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 ip-options 6", 38, "multiple of 4"},
      {"icmp ::1 > ::2 echo-request", 12, "IPv4"},
      {"icmp 1.2.3.4 > 1.2.3.5 echo", 24, "unknown ICMP type"},
      {"vlan 4096 udp 1.2.3.4:1 > 1.2.3.5:2", 6, "from 0 to 4095"},
      {"arp ::1 > ::2", 11, "IPv4"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 dscp af14", 32, "from 0 to 63"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 mac 02:00", 31, "no MAC address"},
      {"udp 1.2.3.4:1 > 1.2.3.5:2 vlan 1 vlan 2 vlan 3", 41, "at most two tags"},
      {"tcp 1.2.3.4:1 > 1.2.3.5:2 carrying udp 1.2.3.4:1 > 1.2.3.5:2", 27, "only ipip, ipv6 and udp"},
      {"ip ipip 1.2.3.4 > 1.2.3.5 carrying udp 1.2.3.4:1", 49, "the destination"},
      {"icmp 1.2.3.4 > 1.2.3.5 3/256", 24, "from 0 to 255"},
  };
  for (const auto& c : cases) {
    const auto frame = packet_from_text(c.text);
    ASSERT_FALSE(frame) << c.text;
    const Diagnostic& d = frame.error().diagnostics.front();
    EXPECT_EQ(d.at.column, c.column) << c.text << ": " << d.message;
    EXPECT_NE(d.message.find(c.message), std::string::npos) << c.text << ": " << d.message;
  }
}

}  // namespace
}  // namespace penstock
