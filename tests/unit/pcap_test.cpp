// Captures made here byte by byte, from the formats' descriptions; never by the writer that is tested.
#include "core/net/pcap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace penstock {
namespace {

// Bytes in a chosen byte order.
struct Maker {
  bool big = false;
  std::vector<uint8_t> bytes;
  Maker& u16(uint32_t v) { return number(v, 2); }
  Maker& u32(uint64_t v) { return number(v, 4); }
  Maker& u64(uint64_t v) { return number(v, 8); }
  Maker& number(uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<uint8_t>(v >> 8 * (big ? size - 1 - i : i)));
    return *this;
  }
  Maker& raw(const std::string& s) {
    bytes.insert(bytes.end(), s.begin(), s.end());
    return *this;
  }
  Maker& pcap_header(uint32_t magic, uint32_t link) { return u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(link); }
  Maker& block(uint32_t type, const Maker& body) {
    const uint32_t length = static_cast<uint32_t>(12 + (body.bytes.size() + 3) / 4 * 4);
    u32(type).u32(length);
    bytes.insert(bytes.end(), body.bytes.begin(), body.bytes.end());
    while (bytes.size() % 4) bytes.push_back(0);
    return u32(length);
  }
  Maker part() const { return {big, {}}; }
  Maker& section() { return block(0x0a0d0d0a, part().u32(0x1a2b3c4d).u16(1).u16(0).u64(~0ull)); }
  Maker& interface(uint16_t link) { return block(1, part().u16(link).u16(0).u32(0)); }
  Maker& enhanced(uint32_t interface, uint64_t ticks, const std::string& data) {
    return block(6, part().u32(interface).u32(ticks >> 32).u32(ticks & 0xffffffff).u32(data.size()).u32(data.size() + 1).raw(data));
  }
};

struct Read {
  uint64_t time;
  LinkType link;
  std::string bytes;
  bool operator==(const Read&) const = default;
};
struct All {
  std::vector<Read> packets;
  std::string error;
};
All read_all(const std::vector<uint8_t>& bytes) {
  All all;
  auto reader = PcapReader::from_memory(bytes, "in.pcap");
  if (!reader) {
    all.error = reader.error().message();
    return all;
  }
  CapturedPacket p;
  for (;;) {
    const auto more = reader->next(p);
    if (!more) all.error = more.error().message();
    if (!more || !*more) return all;
    all.packets.push_back({p.time, p.link, std::string(p.bytes.begin(), p.bytes.end())});
  }
}

TEST(Pcap, BothByteOrdersAndResolutions) {
  for (const bool big : {false, true}) {
    for (const bool nano : {false, true}) {
      Maker m{big, {}};
      m.pcap_header(nano ? 0xa1b23c4d : 0xa1b2c3d4, 1).u32(1700000000).u32(5).u32(3).u32(9).raw("abc").u32(1).u32(0).u32(0).u32(0);
      const All all = read_all(m.bytes);
      EXPECT_EQ(all.error, "");
      ASSERT_EQ(all.packets.size(), 2u);
      EXPECT_EQ(all.packets[0], (Read{1700000000'000000000ull + (nano ? 5 : 5000), LinkType::ethernet, "abc"}));
      EXPECT_EQ(all.packets[1].bytes, "");
    }
  }
}

TEST(Pcap, RawIpLinkTypes) {
  for (const uint32_t link : {12u, 101u, 228u, 229u}) {
    const All all = read_all(Maker().pcap_header(0xa1b2c3d4, link).u32(0).u32(0).u32(1).u32(1).raw("E").bytes);
    ASSERT_EQ(all.packets.size(), 1u) << link;
    EXPECT_EQ(all.packets[0].link, LinkType::raw_ip);
  }
  EXPECT_EQ(read_all(Maker().pcap_header(0xa1b2c3d4, 105).bytes).error, "in.pcap: byte 20: link type 105 is neither Ethernet nor raw IP");
}

TEST(Pcapng, SectionsInterfacesAndResolutions) {
  for (const bool big : {false, true}) {
    Maker m{big, {}};
    m.section().interface(1);
    m.block(1, m.part().u16(101).u16(0).u32(0).u16(9).u16(1).raw(std::string("\x09\0\0\0", 4)).u16(0).u16(0));            // ns
    m.block(1, m.part().u16(101).u16(0).u32(0).u16(9).u16(1).raw(std::string("\x8a\0\0\0", 4)).u16(14).u16(8).u64(100));  // 2^-10 s, 100 s later
    m.enhanced(0, 5, "abcde").enhanced(1, 5'000'000'000, "f").enhanced(2, 512, "g");
    m.block(5, m.part().u32(0).u32(0).u32(0));   // statistics
    m.block(0x0bad, m.part().raw("????"));       // not known to anybody
    m.big = !big;                                // another section, of another machine
    m.section().block(1, m.part().u16(1).u16(0).u32(2)).block(3, m.part().u32(9).raw("hi"));  // a simple packet, cut at snaplen 2
    const All all = read_all(m.bytes);
    EXPECT_EQ(all.error, "");
    const std::vector<Read> expected = {{5000, LinkType::ethernet, "abcde"}, {5'000'000'000, LinkType::raw_ip, "f"},
                                        {100'500'000'000, LinkType::raw_ip, "g"}, {0, LinkType::ethernet, "hi"}};
    EXPECT_EQ(all.packets, expected);
  }
}

TEST(Pcap, BadInputNamesTheByte) {
  const auto error = [](const Maker& m) { return read_all(m.bytes).error; };
  EXPECT_EQ(error(Maker()), "in.pcap: byte 0: the file ends within the magic number");
  EXPECT_EQ(error(Maker().raw("#!/bin/sh\n")), "in.pcap: byte 0: neither pcap nor pcapng");
  EXPECT_EQ(error(Maker().pcap_header(0xa1b2c3d4, 1).u32(0)), "in.pcap: byte 28: the file ends within a packet's header");
  EXPECT_EQ(error(Maker().pcap_header(0xa1b2c3d4, 1).u32(0).u32(0).u32(9).u32(9).raw("abc")), "in.pcap: byte 43: the file ends within a packet");
  EXPECT_EQ(error(Maker().pcap_header(0xa1b2c3d4, 1).u32(0).u32(0).u32(0x7fffffff).u32(0)), "in.pcap: byte 32: a packet of 2147483647 bytes");
  EXPECT_EQ(error(Maker().section().interface(1).enhanced(3, 0, "x")), "in.pcap: byte 56: a packet of interface 3, which the section does not describe");
  EXPECT_EQ(error(Maker().section().interface(105).enhanced(0, 0, "x")), "in.pcap: byte 56: link type 105 is neither Ethernet nor raw IP");
  EXPECT_EQ(error(Maker().section().u32(6).u32(13)), "in.pcap: byte 32: a block of 13 bytes");
  EXPECT_EQ(error(Maker().section().u32(6).u32(12).u32(16)), "in.pcap: byte 36: the two lengths of a block differ");
  EXPECT_EQ(error(Maker().section().interface(1).block(6, Maker().u32(0).u64(0).u32(5).u32(5).raw("abc"))),
            "in.pcap: byte 76: a packet of 5 bytes reaches beyond its block");
}

TEST(Pcap, WriterMakesTheDescribedBytes) {
  std::string path = testing::TempDir() + "penstock_pcap_XXXXXX";
  const int fd = mkstemp(path.data());
  ASSERT_GE(fd, 0);
  close(fd);
  {
    auto writer = PcapWriter::create(path, LinkType::raw_ip);
    ASSERT_TRUE(writer);
    const uint8_t data[] = {'a', 'b', 'c'};
    ASSERT_TRUE(writer->write(3'000'000'007, data));
    ASSERT_TRUE(writer->close());
  }
  std::ifstream in(path, std::ios::binary);
  const std::string written((std::istreambuf_iterator<char>(in)), {});
  unlink(path.c_str());
  Maker expected;
  expected.u32(0xa1b23c4d).u16(2).u16(4).u32(0).u32(0).u32(1 << 20).u32(101).u32(3).u32(7).u32(3).u32(3).raw("abc");
  EXPECT_EQ(written, std::string(expected.bytes.begin(), expected.bytes.end()));
}

TEST(Pcap, AFullDiskIsAnError) {
  auto writer = PcapWriter::create("/dev/full", LinkType::ethernet);
  ASSERT_TRUE(writer);
  const uint8_t data[8192] = {};
  const auto wrote = writer->write(0, data);
  EXPECT_FALSE(wrote && writer->close());
}

}  // namespace
}  // namespace penstock
