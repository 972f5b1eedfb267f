// Captures: pcap (both byte orders, micro- and nanoseconds) and pcapng (any number of sections and interfaces), read in
// memory that does not grow with the file; pcap written.  Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace penstock {

enum class LinkType : uint32_t { ethernet = 1, raw_ip = 101 };  // raw_ip: the packet begins with the IP header

struct CapturedPacket {
  uint64_t time = 0;               // ns since 1970
  LinkType link = LinkType::ethernet;
  uint32_t original_length = 0;    // on the wire; more than bytes.size() where the capture was cut
  std::span<const uint8_t> bytes;  // valid until the next call
};

class PcapReader {
 public:
  static constexpr uint32_t max_packet = 256 * 1024;  // a longer one is an error, not an allocation

  static Result<PcapReader> open(const std::string& path);
  // Reads from memory, which must outlive the reader; `name` is for messages.
  static Result<PcapReader> from_memory(std::span<const uint8_t> bytes, std::string name);

  // The next packet; false at the end of the file.  Errors name the file and the offset of the bad byte; a file that ends
  // within a packet is an error.
  Result<bool> next(CapturedPacket& packet);
  uint64_t offset() const;         // bytes consumed

  PcapReader(PcapReader&&) noexcept;
  PcapReader& operator=(PcapReader&&) noexcept;
  ~PcapReader();

 private:
  struct State;
  explicit PcapReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class PcapWriter {
 public:
  // Creates or truncates `path`: pcap with nanoseconds, in this machine's byte order.
  static Result<PcapWriter> create(const std::string& path, LinkType link);
  Result<> write(uint64_t time, std::span<const uint8_t> bytes);
  Result<> close();                // what could not be written is an error here at the latest

  PcapWriter(PcapWriter&&) noexcept = default;
  PcapWriter& operator=(PcapWriter&&) noexcept = default;

 private:
  PcapWriter() = default;
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace penstock
