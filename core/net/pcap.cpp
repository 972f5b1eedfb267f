#include "core/net/pcap.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace penstock {
namespace {

constexpr uint32_t pcap_micro = 0xa1b2c3d4, pcap_nano = 0xa1b23c4d;
constexpr uint32_t block_section = 0x0a0d0d0a, block_interface = 1, block_packet = 2, block_simple = 3, block_enhanced = 6;
constexpr uint32_t byte_order_magic = 0x1a2b3c4d;
constexpr uint32_t max_block = 1 << 20;  // of a block that is not a packet
constexpr uint16_t option_tsresol = 9, option_tsoffset = 14;

std::optional<LinkType> link_type(uint32_t number) {
  switch (number) {
    case 1: return LinkType::ethernet;
    case 12: case 101: case 228: case 229: return LinkType::raw_ip;  // 12: BSD's own number of DLT_RAW
    default: return {};
  }
}

struct CaptureInterface {
  std::optional<LinkType> link;
  uint32_t number = 0;                // of the link type, for messages
  uint32_t snaplen = 0;               // 0: no limit
  uint8_t resolution = 6;             // if_tsresol as it is written
  int64_t offset = 0;                 // seconds
};

// Ticks to ns; saturates.
uint64_t to_ns(uint64_t ticks, const CaptureInterface& i) {
  unsigned __int128 ns;
  const unsigned exponent = i.resolution & 0x7f;
  if (i.resolution & 0x80) {
    ns = exponent >= 64 ? 0 : (static_cast<unsigned __int128>(ticks) * 1'000'000'000u) >> exponent;
  } else {
    ns = ticks;
    for (unsigned e = exponent; e < 9; ++e) ns *= 10;
    for (unsigned e = 9; e < exponent && ns; ++e) ns /= 10;
  }
  const __int128 moved = static_cast<__int128>(ns) + static_cast<__int128>(i.offset) * 1'000'000'000;
  return moved < 0 ? 0 : moved > static_cast<__int128>(UINT64_MAX) ? UINT64_MAX : static_cast<uint64_t>(moved);
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

struct PcapReader::State {
  std::string name;
  std::unique_ptr<std::FILE, CloseFile> file;
  std::span<const uint8_t> memory;
  uint64_t offset = 0;
  bool ng = false, swapped = false, nano = false;
  std::vector<CaptureInterface> interfaces;  // pcap: one
  std::vector<uint8_t> buffer;

  // Up to `size` bytes; how many there were.
  size_t read(uint8_t* to, size_t size) {
    size_t got;
    if (file) {
      got = std::fread(to, 1, size, file.get());
    } else {
      got = std::min<uint64_t>(size, memory.size() - offset);
      if (got) std::memcpy(to, memory.data() + offset, got);
    }
    offset += got;
    return got;
  }

  Failure bad(uint64_t at, std::string what) const { return fail(fmt::format("{}: byte {}: {}", name, at, what)); }

  Result<> read_all(uint8_t* to, size_t size, const char* what) {
    const uint64_t at = offset;
    const size_t got = read(to, size);
    if (got == size) return {};
    if (file && std::ferror(file.get())) return fail_errno(fmt::format("cannot read {}", name), EIO);
    return bad(at + got, fmt::format("the file ends within {}", what));
  }

  uint16_t u16(const uint8_t* from) const {
    uint16_t v;
    std::memcpy(&v, from, sizeof v);
    return swapped ? __builtin_bswap16(v) : v;
  }
  uint32_t u32(const uint8_t* from) const {
    uint32_t v;
    std::memcpy(&v, from, sizeof v);
    return swapped ? __builtin_bswap32(v) : v;
  }
  uint64_t u64(const uint8_t* from) const {
    uint64_t v;
    std::memcpy(&v, from, sizeof v);
    return swapped ? __builtin_bswap64(v) : v;
  }

  Result<> start();
  Result<bool> next_pcap(CapturedPacket& packet);
  Result<bool> next_ng(CapturedPacket& packet);
  Result<> section(uint64_t at);
  Result<> interface(uint64_t at, std::span<const uint8_t> body);
  Result<bool> packet_block(uint64_t at, uint32_t type, std::span<const uint8_t> body, CapturedPacket& packet);
};

Result<> PcapReader::State::start() {
  uint8_t header[24];
  TRY(read_all(header, 4, "the magic number"));
  uint32_t magic;
  std::memcpy(&magic, header, sizeof magic);
  if (magic == block_section) {  // the same in both byte orders
    ng = true;
    return section(0);
  }
  swapped = magic == __builtin_bswap32(pcap_micro) || magic == __builtin_bswap32(pcap_nano);
  magic = u32(header);
  if (magic != pcap_micro && magic != pcap_nano) return bad(0, "neither pcap nor pcapng");
  nano = magic == pcap_nano;
  TRY(read_all(header + 4, sizeof header - 4, "the file header"));
  if (u16(header + 4) != 2) return bad(4, fmt::format("version {} of pcap is not known", u16(header + 4)));
  const uint32_t number = u32(header + 20) & 0xffff;  // the upper half tells of a frame check sequence
  CaptureInterface i{.link = link_type(number), .number = number};
  if (!i.link) return bad(20, fmt::format("link type {} is neither Ethernet nor raw IP", number));
  interfaces.push_back(i);
  return {};
}

Result<bool> PcapReader::State::next_pcap(CapturedPacket& packet) {
  uint8_t header[16];
  const uint64_t at = offset;
  const size_t got = read(header, sizeof header);
  if (got == 0 && !(file && std::ferror(file.get()))) return false;
  if (got < sizeof header) return bad(at + got, "the file ends within a packet's header");
  const uint32_t fraction = u32(header + 4), length = u32(header + 8);
  if (length > max_packet) return bad(at + 8, fmt::format("a packet of {} bytes", length));
  buffer.resize(length);
  TRY(read_all(buffer.data(), length, "a packet"));
  packet = {u32(header) * 1'000'000'000ull + fraction * (nano ? 1ull : 1000ull), *interfaces.front().link, u32(header + 12), buffer};
  return true;
}

// A section header block, behind its type.
Result<> PcapReader::State::section(uint64_t at) {
  uint8_t header[8];
  TRY(read_all(header, sizeof header, "a section header"));
  uint32_t magic;
  std::memcpy(&magic, header + 4, sizeof magic);
  if (magic != byte_order_magic && magic != __builtin_bswap32(byte_order_magic))
    return bad(at + 8, "the byte order of the section is not told");
  swapped = magic != byte_order_magic;
  const uint32_t length = u32(header);
  if (length < 28 || length % 4 || length > max_block) return bad(at + 4, fmt::format("a section header of {} bytes", length));
  buffer.resize(length - 12);
  TRY(read_all(buffer.data(), buffer.size(), "a section header"));
  if (u16(buffer.data()) != 1) return bad(at + 12, fmt::format("version {} of pcapng is not known", u16(buffer.data())));
  if (u32(buffer.data() + buffer.size() - 4) != length) return bad(at + length - 4, "the two lengths of a block differ");
  interfaces.clear();
  return {};
}

Result<> PcapReader::State::interface(uint64_t at, std::span<const uint8_t> body) {
  if (body.size() < 8) return bad(at, "an interface block that is too short");
  if (interfaces.size() == 65536) return bad(at, "more than 65536 interfaces in one section");
  CaptureInterface i;
  i.number = u16(body.data());
  i.link = link_type(i.number);
  i.snaplen = u32(body.data() + 4);
  for (size_t o = 8; o + 4 <= body.size();) {
    const uint16_t code = u16(&body[o]), length = u16(&body[o + 2]);
    if (code == 0) break;
    if (o + 4 + length > body.size()) return bad(at + 8 + o, "an option reaches beyond its block");
    if (code == option_tsresol && length >= 1) i.resolution = body[o + 4];
    if (code == option_tsoffset && length >= 8) i.offset = static_cast<int64_t>(u64(&body[o + 4]));
    o += 4 + (length + 3u) / 4 * 4;
  }
  interfaces.push_back(i);
  return {};
}

Result<bool> PcapReader::State::packet_block(uint64_t at, uint32_t type, std::span<const uint8_t> body, CapturedPacket& packet) {
  const size_t header = type == block_simple ? 4 : 20;
  if (body.size() < header) return bad(at, "a packet block that is too short");
  const uint32_t number = type == block_simple ? 0 : type == block_enhanced ? u32(body.data()) : u16(body.data());
  if (number >= interfaces.size()) return bad(at + 8, fmt::format("a packet of interface {}, which the section does not describe", number));
  const CaptureInterface& i = interfaces[number];
  if (!i.link) return bad(at + 8, fmt::format("link type {} is neither Ethernet nor raw IP", i.number));
  uint32_t length, original;
  uint64_t time = 0;
  if (type == block_simple) {
    original = u32(body.data());
    length = i.snaplen ? std::min(original, i.snaplen) : original;
  } else {
    time = to_ns(static_cast<uint64_t>(u32(&body[4])) << 32 | u32(&body[8]), i);
    length = u32(&body[12]);
    original = u32(&body[16]);
  }
  if (length > body.size() - header) return bad(at + 8 + header, fmt::format("a packet of {} bytes reaches beyond its block", length));
  packet = {time, *i.link, original, body.subspan(header, length)};
  return true;
}

Result<bool> PcapReader::State::next_ng(CapturedPacket& packet) {
  for (;;) {
    const uint64_t at = offset;
    uint8_t header[8];
    const size_t got = read(header, 4);
    if (got == 0 && !(file && std::ferror(file.get()))) return false;
    if (got < 4) return bad(at + got, "the file ends within a block's header");
    const uint32_t type = u32(header);
    if (type == block_section) {
      TRY(section(at));
      continue;
    }
    TRY(read_all(header + 4, 4, "a block's header"));
    const uint32_t length = u32(header + 4);
    if (length < 12 || length % 4) return bad(at + 4, fmt::format("a block of {} bytes", length));
    if (length > max_block) return bad(at + 4, fmt::format("a block of {} bytes, more than {}", length, max_block));
    buffer.resize(length - 8);
    TRY(read_all(buffer.data(), buffer.size(), "a block"));
    if (u32(buffer.data() + buffer.size() - 4) != length) return bad(at + length - 4, "the two lengths of a block differ");
    const auto body = std::span<const uint8_t>(buffer).first(length - 12);
    if (type == block_interface) {
      TRY(interface(at, body));
    } else if (type == block_enhanced || type == block_simple || type == block_packet) {
      auto found = packet_block(at, type, body, packet);
      if (found && packet.bytes.size() > max_packet) return bad(at, fmt::format("a packet of {} bytes", packet.bytes.size()));
      return found;
    }  // names, statistics and what is not known are skipped, as the format asks
  }
}

PcapReader::PcapReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PcapReader::PcapReader(PcapReader&&) noexcept = default;
PcapReader& PcapReader::operator=(PcapReader&&) noexcept = default;
PcapReader::~PcapReader() = default;

Result<PcapReader> PcapReader::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->name = path;
  state->file.reset(std::fopen(path.c_str(), "rbe"));
  if (!state->file) return fail_errno(fmt::format("cannot open {}", path), errno);
  TRY(state->start());
  return PcapReader(std::move(state));
}

Result<PcapReader> PcapReader::from_memory(std::span<const uint8_t> bytes, std::string name) {
  auto state = std::make_unique<State>();
  state->name = std::move(name);
  state->memory = bytes;
  TRY(state->start());
  return PcapReader(std::move(state));
}

Result<bool> PcapReader::next(CapturedPacket& packet) { return state_->ng ? state_->next_ng(packet) : state_->next_pcap(packet); }

uint64_t PcapReader::offset() const { return state_->offset; }

Result<PcapWriter> PcapWriter::create(const std::string& path, LinkType link) {
  PcapWriter out;
  out.path_ = path;
  out.file_.reset(std::fopen(path.c_str(), "wbe"));
  if (!out.file_) return fail_errno(fmt::format("cannot create {}", path), errno);
  struct {
    uint32_t magic = pcap_nano;
    uint16_t major = 2, minor = 4;
    uint32_t zone = 0, accuracy = 0, snaplen = max_block, link;
  } header{.link = static_cast<uint32_t>(link)};
  if (std::fwrite(&header, sizeof header, 1, out.file_.get()) != 1) return fail_errno(fmt::format("cannot write {}", path), errno);
  return out;
}

Result<> PcapWriter::write(uint64_t time, std::span<const uint8_t> bytes) {
  const auto length = static_cast<uint32_t>(bytes.size());
  const uint32_t header[] = {static_cast<uint32_t>(time / 1'000'000'000), static_cast<uint32_t>(time % 1'000'000'000), length, length};
  if (std::fwrite(header, sizeof header, 1, file_.get()) != 1 || std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
    return fail_errno(fmt::format("cannot write {}", path_), errno);
  return {};
}

Result<> PcapWriter::close() {
  if (std::fclose(file_.release()) != 0) return fail_errno(fmt::format("cannot write {}", path_), errno);
  return {};
}

}  // namespace penstock
